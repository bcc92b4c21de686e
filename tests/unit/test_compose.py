"""A workspace's plan, its release and its folder, as data: no Docker is asked."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from trackstack import lock, names, spec
from trackstack.compose_plan import SFTP, TRACKING
from trackstack.errors import UsageError
from trackstack.operations import notebook
from trackstack.outputs import Outputs
from trackstack.plan import Plan, differences, make_plan
from trackstack.release import render_release
from trackstack.targets import compose_folder, docker
from trackstack.targets.compose import Compose
from unit import golden
from unit.making import LOCK, OTHER_LOCK

JUPYTER_LOCK = f"jupyterlab==4.6.6 \\\n    --hash=sha256:{'4' * 64}\n"


def asked(**groups: Any) -> spec.Asked:
    """A spec's content with all that is decided; arguments replace values of its groups."""
    content = spec.defaults("compose", "team", "ada", "3.17.2")
    content["server"]["workers"] = 2
    return spec.merged(content, groups)


def plan(**groups: Any) -> Plan:
    made = spec.validate(asked(**groups), "The test")
    return make_plan(made, LOCK, jupyter_packages=JUPYTER_LOCK)


def folder_of(made: Plan) -> dict[str, str]:
    """What is rendered for Docker; of the agent's archive only that it is there."""
    assert made.compose is not None
    files = compose_folder.rendered(made, made.compose, "trackstack-team-abcdef", 1000, 1001)
    assert files.pop("tracking/agent.pyz").startswith(b"PK")
    return {path: data.decode() for path, data in files.items()}


def services(made: Plan) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(folder_of(made)["compose.yaml"])["services"]
    return found


def test_the_folder_of_a_spec_is_the_golden_one_byte_for_byte() -> None:
    # The others are copies: of templates, and of locks.
    made = {path: text for path, text in folder_of(plan()).items() if "/" not in path}
    made |= {path: text for path, text in folder_of(plan()).items() if "Dockerfile" in path}
    golden.compare("workspace/folder", made)


def test_the_release_of_a_workspace_is_the_golden_one() -> None:
    outputs = Outputs(url="https://127.0.0.1:8080", machine="compose")
    made = render_release(plan(), outputs)
    files = {each.path: each.content for each in made["files"]}  # type: ignore[attr-defined]
    # A copy of its template.
    (artifacts,) = (path for path in files if path.endswith(".artifacts.py"))
    del files[artifacts]
    golden.compare("workspace/release", files)


def test_nothing_is_open_but_nginxs_two_ports() -> None:
    published = {name: each.get("ports", []) for name, each in services(plan()).items()}
    assert published == {
        "tracking": ["127.0.0.1:8080:8080", "127.0.0.1:8888:8888"],
        "models": [],
        "postgres": [],
        "sftp": [],
        "jupyter": [],
    }


def test_every_container_is_closed() -> None:
    for name, service in services(plan()).items():
        assert service["user"] == "1000:1001", name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_no_secret_is_in_what_is_rendered(tmp_path: Path) -> None:
    secrets = compose_folder.made_secrets(tmp_path)
    words = [secrets["secrets/jupyter/token"], secrets["secrets/postgres/database-password"]]
    rendered = "".join(folder_of(plan()).values())
    assert not [word for word in words if word.decode() in rendered]


@pytest.mark.parametrize(
    ("stores", "there", "artifacts"),
    [
        ({}, True, SFTP),
        ({"artifacts": "/srv/artifacts"}, False, "/artifacts"),
        ({"artifacts": "s3://team/x"}, False, "s3://team/x"),
    ],
    ids=["its own", "a folder", "a bucket"],
)
def test_the_sftp_server_is_there_when_it_keeps_artifacts(
    stores: dict[str, str], there: bool, artifacts: str
) -> None:
    made = plan(stores=stores)
    assert made.mlflow.artifacts == artifacts
    found = services(made)
    assert ("sftp" in found, "sftp" in found["tracking"]["depends_on"]) == (there, there)


@pytest.mark.parametrize(
    ("server", "called", "tracking"),
    [
        ({}, ["127.0.0.1", "localhost", TRACKING], TRACKING),
        (
            {"listen": "0.0.0.0", "hostnames": ["mlflow.example.com"]},
            ["mlflow.example.com", TRACKING],
            "mlflow.example.com",
        ),
        ({"listen": "192.168.1.20"}, ["192.168.1.20", TRACKING], TRACKING),
    ],
    ids=["on loopback", "by a name", "by an address"],
)
def test_jupyterlabs_client_calls_the_server_by_a_name_that_leads_a_browser_there(
    server: dict[str, Any], called: list[str], tracking: str
) -> None:
    made = plan(server=server)
    assert list(made.nginx.names) == called
    assert made.compose is not None
    assert made.compose.tracking == tracking
    aliases = services(made)["tracking"]["networks"]["workspace"]["aliases"]
    uri = services(made)["jupyter"]["environment"]["MLFLOW_TRACKING_URI"]
    assert (aliases, uri) == ([tracking], f"https://{tracking}:8080")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "one port": ({"jupyter": {"port": 8080}}, "cannot both have the port 8080"),
    "everywhere": ({"server": {"listen": "0.0.0.0"}}, "say in hostnames"),
    "endpoint": ({"stores": {"artifacts_endpoint": "http://s3:9000"}}, "goes with a bucket"),
    "client": (
        {"users": ["jupyter"]},
        "^The test: 'jupyter' is the user that JupyterLab itself is",
    ),
    "image": ({"images": {"base": "Debian 13"}}, "is not the name of an image"),
    "unknown": ({"jupyter": {"token": "x"}}, "jupyter.token is not a key of the spec"),
}


@pytest.mark.parametrize(("groups", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_spec_that_cannot_be_is_refused(groups: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(**groups)


def test_a_folder_for_artifacts_is_the_one_that_was_named() -> None:
    made = plan(stores={"artifacts": '/srv/a$b"c'})
    bound = [each for each in services(made)["tracking"]["volumes"] if isinstance(each, dict)]
    # As compose reads it: https://docs.docker.com/reference/compose-file/interpolation/
    assert [each["source"].replace("$$", "$") for each in bound] == ['/srv/a$b"c']
    assert bound[0]["source"].count("$") == 2


def test_whose_account_is_called_like_the_client_gets_another_name() -> None:
    for account in ("jupyter", "Jupyter"):
        assert spec.defaults("compose", "team", account, "3.1")["users"] == ["admin"]


def test_another_lock_of_jupyterlabs_is_told_package_by_package() -> None:
    before = plan()
    made = spec.validate(asked(), "The test")
    newer = make_plan(made, OTHER_LOCK, jupyter_packages=JUPYTER_LOCK.replace("4.6.6", "4.7.0"))
    told = {each.key: (each.before, each.after) for each in differences(before, newer)}
    assert told == {
        "packages.numpy": ("2.4.6", "2.5.0"),
        "compose.jupyter_packages.jupyterlab": ("4.6.6", "4.7.0"),
    }


def test_secrets_are_made_once_and_what_follows_from_them_each_time(tmp_path: Path) -> None:
    first = compose_folder.made_secrets(tmp_path)
    for path, data in first.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "secrets/tracking/pgpass").unlink()
    (tmp_path / "secrets/sftp/authorized-keys").write_bytes(b"of another key")
    assert compose_folder.made_secrets(tmp_path) == first
    password = first["secrets/postgres/database-password"].decode()
    assert first["secrets/tracking/pgpass"].decode() == f"postgres:5432:mlflow:mlflow:{password}\n"


def test_two_homes_have_two_projects_and_a_moved_one_keeps_its_own(tmp_path: Path) -> None:
    one, other = (
        folder_name(tmp_path / home / "environments" / "team") for home in ("one", "other")
    )
    assert one != other
    assert one.startswith("trackstack-team-")
    moved = tmp_path / "moved" / "environments" / "team"
    (moved / "compose").mkdir(parents=True)
    (moved / "compose" / "compose.yaml").write_text(f"# A word.\nname: {one}\n")
    assert folder_name(moved) == one


def folder_name(environment: Path) -> str:
    return (
        Compose(environment)
        .rendered(plan())["compose/compose.yaml"]
        .decode()
        .split("name: ")[1]
        .split("\n")[0]
    )


def test_the_part_of_a_lock_about_one_package() -> None:
    assert lock.only(LOCK, "numpy") == f"numpy==2.4.6 \\\n    --hash=sha256:{'2' * 64}\n"


IMAGES = [
    "debian:trixie-slim",
    "debian",
    "registry.example.com/team/debian:13",
    "localhost:5000/base@sha256:" + "a" * 64,
]
NOT_IMAGES = ["", "Debian", "debian:", "debian trixie", "debian\nRUN x", "../debian", "a//b"]


@pytest.mark.parametrize("name", IMAGES)
def test_an_images_name_is_taken(name: str) -> None:
    assert names.image(name) == name


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        *((names.image, name) for name in NOT_IMAGES),
        (names.artifacts_or_folder, "artifacts"),
        (names.artifacts_or_folder, "sftp://user@host/folder"),
        (names.artifacts_or_folder, "/srv/arti\nfacts"),
    ],
)
def test_what_would_end_up_elsewhere_is_refused(rule: Callable[[str], str], value: str) -> None:
    with pytest.raises(ValueError, match="write it "):
        rule(value)


CELLS = {
    "with a page": (
        "MlflowException: API request failed with error code 401 != 200. "
        "Response body: '<html>\r\n<head>'",
        "MlflowException: API request failed with error code 401 != 200",
    ),
    "of two lines": ("ValueError: no.\n\nSee below", "ValueError: no"),
    "that a terminal would obey": ("Oops: \x1b[31mred", "Oops: \\x1b[31mred"),
}


@pytest.mark.parametrize(("problem", "told"), CELLS.values(), ids=CELLS)
def test_a_cells_error_is_told_in_one_line(problem: str, told: str) -> None:
    assert notebook._sentence(problem) == told


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?\n",
            "Cannot connect to the Docker daemon at unix:///x",
        ),
        ("warning: x\npermission denied.\n", "permission denied"),
        ("", "no word of why"),
    ],
)
def test_what_docker_says_last_ends_a_sentence(said: str, told: str) -> None:
    assert docker._last_line(said) == told


@pytest.mark.parametrize(
    ("part", "version", "old"),
    [
        ("engine", "24.0.9\n", True),
        ("engine", "20.10.24+dfsg1", True),
        ("engine", "25.0.0", False),
        ("engine", "26.1.5+dfsg1\n", False),
        ("engine", "dev", False),
        ("plugin compose", "v2.23.3", True),
        ("plugin compose", "2.24.0-1", False),
        ("plugin compose", "5.0.1", False),
    ],
)
def test_a_docker_that_cannot_ask_often_for_health_is_refused(
    part: str, version: str, old: bool
) -> None:
    found = docker._too_old(part, version)
    assert (found is not None) is old
    assert found is None or version.strip() in str(found)
