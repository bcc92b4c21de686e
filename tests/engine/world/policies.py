"""What IAM decides: whether somebody's policies permit an action on a resource.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html, for
what the kit's policies say. A word that is not known here fails the test, and permits nothing.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

EVERYTHING = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
    }
)

Statement = Mapping[str, Any]


def statements(*documents: str) -> list[Statement]:
    """The statements of policies, each JSON."""
    return [each for document in documents for each in _listed(json.loads(document)["Statement"])]


def permits(
    said: Iterable[Statement], action: str, resource: str, context: Mapping[str, str]
) -> bool:
    """Whether one of the statements allows it and none denies it.

    Args:
        said: of all policies that count.
        action: such as 's3:GetObject'.
        resource: its ARN, or '*' where the action knows none.
        context: the condition keys of the request, such as 'aws:RequestedRegion'.
    """
    about = [each for each in said if _is_about(each, action, resource, context)]
    effects = {each["Effect"] for each in about}
    return effects == {"Allow"}


def unused(said: Iterable[Statement], done: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """What is allowed and was never done: each action with its resource, as written.

    Args:
        said: the statements.
        done: actions with the resources they were done to, as calls are written down.
    """
    done = set(done)
    return [
        (action, resource)
        for each in said
        if each["Effect"] == "Allow"
        for action in _listed(each["Action"])
        for resource in _listed(each["Resource"])
        if not any(
            _matches(action.lower(), one.lower()) and _matches(resource, to) for one, to in done
        )
    ]


def _is_about(each: Statement, action: str, resource: str, context: Mapping[str, str]) -> bool:
    unknown = each.keys() - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    assert not unknown, f"this double of IAM does not know {unknown}"
    return (
        any(_matches(pattern.lower(), action.lower()) for pattern in _listed(each["Action"]))
        and any(_matches(pattern, resource) for pattern in _listed(each["Resource"]))
        and all(
            _holds(operator, key, _listed(values), context)
            for operator, wanted in each.get("Condition", {}).items()
            for key, values in wanted.items()
        )
    )


def _holds(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    found = context.get(key)
    if operator.endswith("IfExists"):
        return found is None or _holds(operator.removesuffix("IfExists"), key, values, context)
    if operator == "StringNotEquals":
        return found not in values
    assert operator in {"StringEquals", "StringLike", "ArnLike", "Bool"}, (
        f"this double of IAM does not know the condition {operator}"
    )
    return found is not None and any(
        _matches(value, found) if operator.endswith("Like") else value == found for value in values
    )


def _matches(pattern: str, text: str) -> bool:
    parts = ({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
