"""Who asks: the keys of people and machines, and what their policies say."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from engine.world.policies import Statement
from engine.world.requests import Request

Policies = Callable[[], list[Statement]]


@dataclass
class Identity:
    """Somebody with keys.

    Attributes:
        arn: as GetCallerIdentity tells it.
        policies: what they say at the moment.
        token: of a session; None for a user's own keys.
        expired: whether the session is over.
    """

    arn: str
    policies: Policies
    key: str
    secret: str
    token: str | None = None
    expired: bool = False

    @property
    def variables(self) -> dict[str, str]:
        """For a shell."""
        token = {"AWS_SESSION_TOKEN": self.token} if self.token else {}
        return {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret, **token}

    def signed(self, request: Request) -> bool:
        """Whether a request was signed with this secret, as Amazon's own client signs."""
        _, region, service = request.scope
        names = request.authorization["SignedHeaders"].split(";")
        signed = AWSRequest(
            method=request.method,
            url=request.url,
            headers={name: request.headers.get(name, "") for name in names},
            data=request.body,
        )
        signed.context["timestamp"] = request.headers["x-amz-date"]
        credentials = Credentials(self.key, self.secret, self.token)
        auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region)
        text = auth.string_to_sign(signed, auth.canonical_request(signed))
        return hmac.compare_digest(auth.signature(text, signed), request.authorization["Signature"])


class Identities:
    """All keys of an account."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._known: dict[str, Identity] = {}

    def user(self, name: str, policies: Policies) -> Identity:
        """A user with keys that last."""
        arn = f"arn:aws:iam::{self._account}:user/{name}"
        return self._keep(Identity(arn, policies, _key("AKIA"), token_hex(20)))

    def session(self, role: str, session: str, policies: Policies) -> Identity:
        """A session in a role."""
        arn = f"arn:aws:sts::{self._account}:assumed-role/{role}/{session}"
        return self._keep(Identity(arn, policies, _key("ASIA"), token_hex(20), token_hex(40)))

    def of(self, key: str) -> Identity | None:
        """Whose key it is."""
        return self._known.get(key)

    def by_arn(self, arn: str) -> Identity | None:
        """The user, or any session of the role."""
        role = f":assumed-role/{arn.rpartition('/')[2]}/"
        found = [i for i in self._known.values() if i.arn == arn or role in i.arn]
        return found[-1] if found else None

    def _keep(self, identity: Identity) -> Identity:
        self._known[identity.key] = identity
        return identity


def _key(kind: str) -> str:
    return kind + token_hex(8).upper()
