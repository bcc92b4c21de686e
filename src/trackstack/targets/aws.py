"""An AWS account, through its own API: identity, state bucket, key, look-ups."""

import os
import re
from collections.abc import Iterator
from functools import cached_property
from secrets import token_urlsafe
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import SecretStr

from trackstack import spec
from trackstack.cloud_plan import ENVIRONMENT_TAG, KIT, KIT_TAG, Aws, bucket_name
from trackstack.control.s3 import S3Store
from trackstack.control.s3_failures import code, refused, told
from trackstack.errors import UsageError
from trackstack.place import Place
from trackstack.plan import Plan
from trackstack.targets import aws_left, aws_permissions
from trackstack.targets.account import Say, Snapshot, Unfinished
from trackstack.targets.aws_machines import architecture, image, machine_kind, zones
from trackstack.targets.base import Kept

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=30,
    retries={"max_attempts": 4, "mode": "standard"},
    user_agent_extra=KIT,
)
_RECORD = re.compile(r"environments/([a-z0-9-]+)/record\.json")


def locate(region: str | None, profile: str | None, wanted: str | None = None) -> Place:
    """Where these credentials lead.

    Args:
        region: as asked; the profile's or the shell's when None.
        profile: the profile with the credentials; the shell's when None.
        wanted: the account that it must be, or None.

    Raises:
        UsageError: no region is known, or it is another account.
        MissingError: there are no credentials.
        TrackstackError: they do not work.
    """
    with told(profile):
        # Amazon's other tools take this variable too; its Python client alone does not.
        named = region or os.environ.get("AWS_REGION")
        session = boto3.Session(profile_name=profile, region_name=named)
        if session.region_name is None:
            raise UsageError("No AWS region is known.", "Say `--region`, such as eu-central-1.")
        me = session.client("sts", config=_CONFIG).get_caller_identity()
    if wanted and wanted != me["Account"]:
        raise UsageError(
            f"These credentials are of the AWS account {me['Account']}, not of {wanted}.",
            "Use the profile of the other account with `--profile`.",
        )
    return Place(
        target="aws",
        account=me["Account"],
        region=session.region_name,
        who=me["Arn"],
        profile=profile,
    )


def account(place: Place) -> "AwsAccount":
    """The account at a place."""
    return AwsAccount(place)


class AwsAccount:
    """One account and region; see Account."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._clients: dict[str, Any] = {}

    def state(self) -> S3Store:
        """The state bucket; see Account."""
        return self._store(self._state_bucket)

    def has_state(self) -> bool:
        """Whether the state bucket is there, and this account's; see Account."""
        with told(self.place.profile):
            try:
                self._client("s3").head_bucket(
                    Bucket=self._state_bucket, ExpectedBucketOwner=self.place.account
                )
            except ClientError as error:
                if code(error) in {"404", "NoSuchBucket"}:
                    return False
                raise
        return True

    def ensure_state(self) -> None:
        """Have the state bucket; each part is made again when a kill left it out."""
        s3, bucket = self._client("s3"), self._state_bucket
        with told(self.place.profile):
            if not self.has_state():
                place = {"LocationConstraint": self.place.region}
                # The oldest region takes no such word.
                said = {} if self.place.region == "us-east-1" else {"config": place}
                more = {"CreateBucketConfiguration": said["config"]} if said else {}
                s3.create_bucket(Bucket=bucket, **more)
            elif self._state_is_ready(bucket):
                return
            mine = {"Bucket": bucket, "ExpectedBucketOwner": self.place.account}
            s3.put_public_access_block(
                **mine,
                PublicAccessBlockConfiguration={
                    "BlockPublicAcls": True,
                    "IgnorePublicAcls": True,
                    "BlockPublicPolicy": True,
                    "RestrictPublicBuckets": True,
                },
            )
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
            s3.put_bucket_encryption(**mine, ServerSideEncryptionConfiguration={"Rules": [rule]})
            s3.put_bucket_tagging(**mine, Tagging={"TagSet": [{"Key": KIT_TAG, "Value": KIT}]})
            # The last one, so that its being on says that the others are.
            s3.put_bucket_versioning(**mine, VersioningConfiguration={"Status": "Enabled"})

    def names(self) -> list[str]:
        """The environments on record; see Account."""
        if not self.has_state():
            return []
        found = (_RECORD.fullmatch(key) for key in self.state().list("environments/"))
        return sorted(each[1] for each in found if each)

    def backend(self) -> str:
        """The state bucket as the engine writes it; see Account."""
        return f"s3://{self._state_bucket}?region={self.place.region}&awssdk=v2"

    def control(self, environment: str) -> S3Store:
        """An environment's control bucket; see Account."""
        return self._store(self._bucket(environment, "control"))

    def key(self, environment: str, make: bool) -> SecretStr | None:
        """The key in the parameter store; see Account."""
        ssm, name = self._client("ssm"), f"/{KIT}/{environment}/key"
        with told(self.place.profile):
            for _ in range(2):
                try:
                    found = ssm.get_parameter(Name=name, WithDecryption=True)
                    return SecretStr(found["Parameter"]["Value"])
                except ClientError as error:
                    if code(error) != "ParameterNotFound":
                        raise
                if not make:
                    return None
                try:
                    ssm.put_parameter(
                        Name=name,
                        Value=token_urlsafe(32),
                        Type="SecureString",
                        Description="Encrypts secrets in the state of a trackstack environment",
                        Tags=[
                            {"Key": KIT_TAG, "Value": KIT},
                            {"Key": ENVIRONMENT_TAG, "Value": environment},
                        ],
                    )
                except ClientError as error:
                    if code(error) != "ParameterAlreadyExists":  # another one was faster
                        raise
        return None

    def forget(self, environment: str) -> None:
        """Remove key, record and state; the state bucket stays. See Account."""
        with told(self.place.profile):
            aws_left.remove_versions(
                self._client("s3"), self._state_bucket, f"environments/{environment}/"
            )
            for folder in ("stacks", "history", "backups"):
                aws_left.remove_versions(
                    self._client("s3"),
                    self._state_bucket,
                    f".pulumi/{folder}/{KIT}/{environment}",
                    whole_name=True,
                )
            try:
                self._client("ssm").delete_parameter(Name=f"/{KIT}/{environment}/key")
            except ClientError as error:
                if code(error) != "ParameterNotFound":
                    raise

    def engine_variables(self) -> dict[str, str]:
        """The same credentials, as they are now; see Account."""
        with told(self.place.profile):
            found = self._session.get_credentials()
            keys = found.get_frozen_credentials() if found else None
        variables = {"AWS_REGION": self.place.region}
        if keys is None:
            return variables
        variables |= {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        }
        return variables | ({"AWS_SESSION_TOKEN": keys.token} if keys.token else {})

    def program_secrets(self, _plan: Aws) -> dict[str, SecretStr]:
        """AWS makes the database's password itself; see Account."""
        return {}

    def decided(self, content: dict[str, Any], recorded: Plan | None) -> dict[str, Any]:
        """Account, region, zones, image and workers; see Account."""
        machine, server = dict(content["machine"]), dict(content["server"])
        before = recorded.cloud.machine_type if recorded and recorded.cloud else None
        asked = content.get("account") or self.place.account
        if asked != self.place.account:
            raise UsageError(
                f"The environment is for the AWS account {asked}, and these credentials are of "
                f"{self.place.account}.",
                "Use the profile of that account with `--profile`.",
            )
        found = {**content, "account": asked, "region": content["region"] or self.place.region}
        if None not in (machine["image"], server["workers"], content["zones"]) and (
            before in (None, machine["type"])
        ):
            return found
        with told(self.place.profile):
            ec2 = self._client("ec2")
            kind = machine_kind(ec2, machine["type"], self.place.region)
            if machine["image"] is None or (
                before not in (None, machine["type"])
                and architecture(ec2, machine["image"]) not in (None, kind.architecture)
            ):
                machine["image"] = image(self._client("ssm"), kind.architecture)
            if server["workers"] is None:
                server["workers"] = spec.default_workers(kind.cores, kind.memory)
            if content["zones"] is None:
                found["zones"] = zones(ec2, machine["type"], self.place.region)
        return {**found, "machine": machine, "server": server}

    def denied(self, plan: Aws) -> list[str]:
        """By IAM's own simulation, where it may be asked; see Account."""
        with told(self.place.profile):
            return aws_permissions.denied(self._client("iam"), self.place.who, plan)

    def request(self, plan: Aws) -> str:
        """The deployer's policy, and what may be given instead; see Account."""
        return aws_permissions.request(self.place.who, plan)

    def policy(self, whose: str, plan: Aws) -> str:
        """For IAM, as JSON; see Account."""
        return aws_permissions.policy(whose, plan)

    def room_problem(self, plan: Aws) -> str | None:
        """A machine type that is not there, or does not go with the image; see Account."""
        with told(self.place.profile):
            kind = machine_kind(self._client("ec2"), plan.machine_type, self.place.region)
            fits = architecture(self._client("ec2"), plan.image)
        if fits not in (None, kind.architecture):
            return (
                f"The machine type {plan.machine_type} is of the kind {kind.architecture}, and the "
                f"image {plan.image} of {fits}."
            )
        return None

    def find(self, left: Unfinished) -> str | None:
        """By its tags, or its name; see Account."""
        with told(self.place.profile):
            return aws_left.find(self._client, left)

    def running(self, machine: str) -> bool:
        """Whether EC2 says so; see Account."""
        with told(self.place.profile):
            answer = self._client("ec2").describe_instances(InstanceIds=[machine])
        states = [i["State"]["Name"] for r in answer["Reservations"] for i in r["Instances"]]
        return states in (["running"], ["pending"])

    def console(self, machine: str) -> str:
        """EC2's console output; see Account."""
        with told(self.place.profile):
            answer = self._client("ec2").get_console_output(InstanceId=machine, Latest=True)
        # botocore has undone the base64.
        return str(answer.get("Output", ""))

    def stored_bytes(self, bucket: str) -> int:
        """The newest versions together; see Account."""
        with told(self.place.profile):
            pages = self._client("s3").get_paginator("list_objects_v2")
            return sum(
                each["Size"]
                for page in pages.paginate(Bucket=bucket, ExpectedBucketOwner=self.place.account)
                for each in page.get("Contents", [])
            )

    def empty(self, bucket: str, say: Say) -> None:
        """Every version and every unfinished upload; see Account."""
        with told(self.place.profile):
            aws_left.remove_versions(self._client("s3"), bucket, "", say=say)

    def snapshots(self, environment: str) -> list[Snapshot]:
        """The last ones of databases of that name; see Account."""
        with told(self.place.profile):
            return aws_left.final_snapshots(self._client("rds"), environment)

    def left(self, environment: str) -> Iterator[Kept]:
        """By tag, from every service that has tags; see Account."""
        with told(self.place.profile):
            yield from aws_left.tagged(self._client, environment)

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session(profile_name=self.place.profile, region_name=self.place.region)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.client(service, config=_CONFIG)
        return self._clients[service]

    def _store(self, bucket: str) -> S3Store:
        return S3Store(bucket, self.place.region, self.place.account, self._client("s3"))

    def _bucket(self, environment: str, part: str) -> str:
        return bucket_name(environment, self.place.account, self.place.region, part)

    @property
    def _state_bucket(self) -> str:
        return f"{KIT}-state-{self.place.account}-{self.place.region}"

    def _state_is_ready(self, bucket: str) -> bool:
        try:
            answer = self._client("s3").get_bucket_versioning(
                Bucket=bucket, ExpectedBucketOwner=self.place.account
            )
        except ClientError as error:
            raise refused(error, self.place.profile) from error
        return bool(answer.get("Status") == "Enabled")
