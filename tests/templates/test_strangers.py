"""Nobody gets in without a login, and a refusal tells nothing."""

import pytest
from front import PASSWORD, Front

LOCATIONS = (
    "/",
    "/index.html",
    "/health",
    "/version",
    "/metrics",
    "/release",
    "/graphql",
    "/static-files/main.js",
    "/get-artifact?path=model.pkl",
    "/api/2.0/mlflow/experiments/search",
    "/ajax-api/2.0/mlflow/runs/create",
    "/api/2.0/mlflow-artifacts/artifacts/0/run/artifacts/model.pkl",
    "/v1/traces",
    "/gateway/openai/v1/chat/completions",
    "/ajax-api/3.0/mlflow/assistant/message",
    "/ajax-api/3.0/jobs/",
    "/ajax-api/3.0/mlflow/scorer/invoke",
    "/ajax-api/3.0/mlflow/prompt-optimization/jobs",
    "/serve/",
    "/serve/model/ping",
    "/serve/model/invocations",
    "/livez/",
    "/livez/x",
    "/LIVEZ",
    "//livez/..",
    "/nonexistent",
    "/users/ada/current",
    "/.nobody",
    "/%2e%2e/users/ada/current",
    "/a%00b",
    "/@refused",
)
METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"),
    *("PROPFIND", "MKCOL", "COPY", "MOVE", "LOCK", "SEARCH", "QUERY", "X-OWN"),
)
NGINX_OWN_WORD = ("TRACE", "CONNECT", "get", "Get", "G\tT")
"""Methods that nginx itself refuses, before it asks for a login: hostile.yaml says how."""


@pytest.mark.parametrize("location", LOCATIONS)
def test_a_stranger_is_refused_whatever_the_method(front: Front, location: str) -> None:
    expected = {400} if "%00" in location or location.startswith("/%2e%2e") else {401}
    statuses = {method: front.ask(location, method).status for method in METHODS}
    let_through = {method: status for method, status in statuses.items() if status not in expected}
    assert let_through == {}, f"{location} answered a stranger with another status"


def test_no_strangers_request_reaches_the_upstream(own_front: Front) -> None:
    for location in LOCATIONS:
        for method in (*METHODS, *NGINX_OWN_WORD):
            own_front.ask(location, method)
    own_front.ask("/", login=b"ada:wrong")
    reached = [(seen.method, seen.path) for seen in own_front.upstream.requests]
    assert reached == [], "MLflow heard of requests without a login"
    assert own_front.upstream.connections == 0


@pytest.mark.parametrize("method", [m for m in METHODS if m != "HEAD"])
def test_livez_says_alive_and_nothing_else(front: Front, method: str) -> None:
    answer = front.ask("/livez", method)
    told = {line.partition(":")[0] for line in answer.head.splitlines()[1:]}
    assert (answer.status, answer.body) == (200, b"alive\n")
    every = {"Server", "Date", "Content-Type", "Content-Length", "Connection"}
    assert told == every | {"X-Content-Type-Options", "Referrer-Policy"}


def test_livez_needs_the_right_host(front: Front) -> None:
    assert front.ask("/livez", host="elsewhere.example").status == 421


HOSTILE_NAMES: dict[str, bytes] = {
    "unknown user": b"grace:x",
    "unknown user with the password of another": f"grace:{PASSWORD}".encode(),
    "user of that name with a wrong password": b"ada:x",
    "an empty password": b"ada:",
    "an empty name": f":{PASSWORD}".encode(),
    "no colon": b"ada",
    "nothing": b"",
    "up and down a folder": f"../users/ada:{PASSWORD}".encode(),
    "up a folder": f"../ada:{PASSWORD}".encode(),
    "the file nobody has": f".nobody:{PASSWORD}".encode(),
    "capitals": f"ADA:{PASSWORD}".encode(),
    "a slash at the end": f"ada/:{PASSWORD}".encode(),
    "the file itself": f"ada/current:{PASSWORD}".encode(),
    "a dot": f".:{PASSWORD}".encode(),
    "an encoded slash": f"x%2f..%2fada:{PASSWORD}".encode(),
    "an encoded letter": f"%61da:{PASSWORD}".encode(),
    "NUL at the end": f"ada\0:{PASSWORD}".encode(),
    "NUL inside": f"ada\0/../x:{PASSWORD}".encode(),
    "newline at the end": f"ada\n:{PASSWORD}".encode(),
    "newline inside": f"x\nada:{PASSWORD}".encode(),
    "carriage return": f"ada\r:{PASSWORD}".encode(),
    "space before": f" ada:{PASSWORD}".encode(),
    "the variable itself": f"$password_file:{PASSWORD}".encode(),
    "letters of another script": f"\u0430\u0434\u0430:{PASSWORD}".encode(),
    "bytes that are no text": b"\xff\xfe:x",
    "127 letters": b"a" * 127 + b":x",
    "128 letters": b"a" * 128 + b":x",
    "255 letters": b"a" * 255 + b":x",
    "300 letters": b"a" * 300 + b":x",
    "5,000 letters": b"a" * 5000 + b":x",
    "a password of 5,000 letters": b"ada:" + b"x" * 5000,
}


@pytest.mark.parametrize("login", HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_every_refusal_is_the_same_to_the_letter(front: Front, login: bytes) -> None:
    assert front.ask("/", login=login).timeless == front.ask("/", login=b"ada:wrong").timeless


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        "basic",
        "Bearer abc",
        "Digest username=ada",
        "Basic YWRhOmNvcnJlY3QtaG9yc2U",  # cut short: its padding is missing
        "Negotiate " + "A" * 3000,
    ],
)
def test_a_header_that_is_no_login_gets_the_same_refusal(front: Front, header: str) -> None:
    refused = front.ask("/", headers=(("Authorization", header),))
    if header.startswith("Basic YWRh"):
        assert refused.status in {200, 401}  # nginx takes base64 without its padding
    else:
        assert refused.timeless == front.ask("/").timeless


def test_a_stranger_without_a_login_gets_the_same_refusal_as_a_wrong_one(front: Front) -> None:
    assert front.ask("/").timeless == front.ask("/", login=b"ada:wrong").timeless


def test_a_refusal_asks_for_a_login_once(front: Front) -> None:
    challenges = [
        front.ask("/", login=login).values("WWW-Authenticate")
        for login in (None, b"ada:wrong", b"grace:x", b"../ada:x")
    ]
    assert challenges == [['Basic realm="MLflow"']] * 4


def test_a_user_whose_file_is_gone_is_refused_like_an_unknown_one(own_front: Front) -> None:
    own_front.let_in("grace", "her-own")
    assert own_front.ask("/", login=b"grace:her-own").status == 200
    (own_front.machine / "users" / "grace" / "current").unlink()
    gone = own_front.ask("/", login=b"grace:her-own")
    assert gone.timeless == own_front.ask("/", login=b"nobody.ever:x").timeless
    assert gone.status == 401


@pytest.mark.parametrize("name", ["ada.l", "ada@example.com", "a_b-c+d", "0", "a" * 128])
def test_names_as_people_use_them_get_in(front: Front, name: str) -> None:
    front.let_in(name, "a-password")
    assert front.ask("/", login=f"{name}:a-password".encode()).status == 200


def test_one_users_password_does_not_open_anothers_name(front: Front) -> None:
    front.let_in("grace", "her-own")
    crossed = [
        front.ask("/", login=login).status for login in (b"grace:correct-horse", b"ada:her-own")
    ]
    assert crossed == [401, 401]


def test_the_upstreams_own_403_is_passed_on(front: Front) -> None:
    assert front.ask_as_ada("/x?status=403").status == 403
