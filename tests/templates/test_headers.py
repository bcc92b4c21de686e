"""MLflow never sees a password, and believes nobody but nginx about who asks."""

import pytest
from front import PASSWORD, USER, Front

SEEN_BY_MLFLOW = {
    "Authorization": [],
    "Proxy-Authorization": [],
    "Cookie": [],
    "Forwarded": [],
    "X-Forwarded-For": ["127.0.0.1"],
    "X-Forwarded-Proto": ["http"],
    "X-Forwarded-Host": [],
    "X-Forwarded-Port": [],
    "X-Forwarded-Prefix": [],
    "X-Real-IP": ["127.0.0.1"],
    "X-Remote-User": [USER],
    "Upgrade": [],
}


def _spellings(name: str) -> list[str]:
    return [name, name.lower(), name.upper(), name.replace("-", "_")]


@pytest.mark.parametrize("name", SEEN_BY_MLFLOW)
def test_a_forged_header_is_replaced_however_it_is_spelled(front: Front, name: str) -> None:
    path = f"/forged-{name}"
    spellings = [s for s in _spellings(name) if s.lower() != "authorization"]
    forged = tuple((spelling, f"forged-{n}") for n, spelling in enumerate(spellings))
    assert front.ask_as_ada(path, headers=forged).status == 200
    (seen,) = front.upstream.seen(path)
    assert seen.values(name) == SEEN_BY_MLFLOW[name]
    assert "forged" not in "".join(value for _, value in seen.headers), seen.headers


def test_no_header_that_mlflow_sees_holds_the_password(front: Front) -> None:
    front.ask_as_ada("/password")
    (seen,) = front.upstream.seen("/password")
    assert PASSWORD not in str(seen.headers)
    assert seen.values("X-Remote-User") == [USER]


def test_other_headers_are_passed_on(front: Front) -> None:
    front.ask_as_ada("/passed", headers=(("X-Mlflow-Workspace", "team"), ("Range", "bytes=0-1")))
    (seen,) = front.upstream.seen("/passed")
    assert (seen.values("X-Mlflow-Workspace"), seen.values("Range")) == (["team"], ["bytes=0-1"])
