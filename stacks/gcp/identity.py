"""Who may do what: the machine's service account, with roles on its own buckets and secret only."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_gcp import secretmanager, serviceaccount, storage

from stacks.gcp.place import Place


@dataclass(frozen=True)
class Machine:
    """What the machine acts as.

    Attributes:
        email: the service account's address.
        made: whether the kit made it, and so gives it its roles.
    """

    email: pulumi.Input[str]
    made: bool

    @property
    def member(self) -> pulumi.Output[str]:
        """As bindings name it."""
        return pulumi.Output.concat("serviceAccount:", self.email)


def machine(place: Place) -> Machine:
    """The machine's identity; a given one must bring its permissions along."""
    plan = place.plan
    if plan.given.service_account:
        return Machine(plan.given.service_account, False)
    account = serviceaccount.Account(
        "machine-account",
        account_id=plan.account_id,
        display_name=f"trackstack {plan.environment}",
        description=f"The machine of the trackstack environment {plan.environment}",
        opts=place.options(),
    )
    return Machine(account.email, True)


def bucket_roles(
    place: Place, machine: Machine, control: pulumi.Input[str], artifacts: pulumi.Input[str]
) -> list[pulumi.Resource]:
    """Read what is desired, report what is, keep artifacts; and nothing else."""
    if not machine.made:
        return []
    plan = place.plan

    def bind(
        name: str, bucket: pulumi.Input[str], role: str, folders: Sequence[str] = ()
    ) -> storage.BucketIAMMember:
        where = f"projects/_/buckets/{plan.control_bucket}/objects/"
        within = " || ".join(f'resource.name.startsWith("{where}{folder}/")' for folder in folders)
        condition = storage.BucketIAMMemberConditionArgs(title=name, expression=within)
        return storage.BucketIAMMember(
            name,
            bucket=bucket,
            role=role,
            member=machine.member,
            condition=condition if folders else None,
            opts=place.options(),
        )

    return [
        # Names only: so that what is not there is not forbidden.
        bind("lists-control", control, "roles/storage.legacyBucketReader"),
        bind("reads", control, "roles/storage.legacyObjectReader", ("desired", "observed")),
        bind("reports", control, "roles/storage.objectUser", ("observed",)),
        bind("audits", control, "roles/storage.objectCreator", ("audit",)),
        bind("keeps-artifacts", artifacts, "roles/storage.objectUser"),
    ]


def may_read_secret(place: Place, machine: Machine, secret: pulumi.Output[str]) -> None:
    """Let the machine read the database's first password."""
    if not machine.made:
        return
    secretmanager.SecretIamMember(
        "reads-database-password",
        secret_id=secret,
        role="roles/secretmanager.secretAccessor",
        member=machine.member,
        opts=place.options(),
    )
