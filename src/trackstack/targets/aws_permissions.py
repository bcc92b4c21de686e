"""What the person must be permitted to do: the deployer's policy, held against IAM's own word."""

import json
import re
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from trackstack.cloud_plan import Aws
from trackstack.control.s3_failures import code
from trackstack.templating import render

_ASSUMED = re.compile(r"arn:(aws[a-z-]*):sts::([0-9]{12}):assumed-role/([^/]+)/.*")


_POLICIES = {
    "deployer": "policies/aws-deployer.json.j2",
    "user-administrator": "policies/aws-user-administrator.json.j2",
    "viewer": "policies/aws-viewer.json.j2",
}
"""By who needs it."""


def policy(whose: str, plan: Aws) -> str:
    """The policy of a deployer, a user administrator or a viewer, as JSON."""
    values = {
        "partition": plan.partition,
        "region": plan.region,
        "account": plan.account,
        "environment": plan.environment,
        "control": plan.control_bucket,
    }
    return render(_POLICIES[whose], values)


def request(who: str, plan: Aws) -> str:
    """A text for an administrator: what to permit, or what to make in place of it."""
    return render(
        "policies/aws-request.md.j2",
        {
            "who": who,
            "environment": plan.environment,
            "account": plan.account,
            "region": plan.region,
            "policy": policy("deployer", plan),
        },
    )


def denied(iam: Any, who: str, plan: Aws) -> list[str]:
    """The actions of the deployer's policy that IAM says these credentials may not do.

    Args:
        iam: the client.
        who: the caller's ARN.
        plan: what is to be made; without a database, nothing about databases is asked.

    Returns:
        Nothing where IAM may not be asked, or does not know the caller, as with the root account:
        then only trying tells.
    """
    principal = _ASSUMED.sub(r"arn:\1:iam::\2:role/\3", who)
    missing: list[str] = []
    try:
        for actions, resources in _wanted(plan):
            answer = iam.simulate_principal_policy(
                PolicySourceArn=principal,
                ActionNames=actions,
                ResourceArns=resources,
                ContextEntries=[
                    {
                        "ContextKeyName": "aws:RequestedRegion",
                        "ContextKeyValues": [plan.region],
                        "ContextKeyType": "string",
                    }
                ],
            )
            missing += [
                each["EvalActionName"]
                for each in answer["EvaluationResults"]
                if each["EvalDecision"] != "allowed"
            ]
    except ClientError as error:
        if code(error) in {"AccessDenied", "InvalidInput", "NoSuchEntity", "NotImplemented"}:
            return []
        raise
    return sorted(set(missing))


def _wanted(plan: Aws) -> Iterator[tuple[list[str], list[str]]]:
    """Actions, with an example of what they are done to, statement by statement."""
    for statement in json.loads(policy("deployer", plan))["Statement"]:
        if statement["Sid"] == "MakeTheDatabase" and plan.database is None:
            continue
        # IAM simulates no action with a wildcard.
        actions = [each for each in _listed(statement["Action"]) if "*" not in each]
        if actions:
            yield actions, [_example(each) for each in _listed(statement["Resource"])]


def _example(resource: str) -> str:
    return resource if resource == "*" else resource.replace("*", "any")


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
