"""The release: every file of the server, the same bytes from the same plan."""

import json
import re

import pytest

from trackstack.desired import Release
from trackstack.plan import Plan
from trackstack.release import render_release, same_server
from unit import golden
from unit.making import OTHER_LOCK, OUTPUTS, change_of, plan, release


def files(of: Plan) -> dict[str, str]:
    return {file.path: file.content for file in release(of).files}


def parts(of: Plan) -> dict[str, str]:
    """The files by what they are, without the names that follow from their content."""
    made = release(of)
    return {
        path.replace(made.mlflow, "mlflow"): text.replace(made.mlflow, "NAME").replace(
            f'"{made.nginx}"', "SETTINGS"
        )
        for path, text in files(of).items()
    }


def changed(asked: dict[str, object]) -> set[str]:
    before, after = parts(plan()), parts(plan(**asked))  # type: ignore[arg-type]
    assert set(before) == set(after)
    return {path for path in before if before[path] != after[path]}


def test_the_release_of_a_spec_is_the_golden_one_byte_for_byte() -> None:
    made = release()
    rest = {key: value for key, value in made.model_dump(mode="json").items() if key in
            ("packages", "mlflow", "host", "nginx", "url")}  # fmt: skip
    rest |= {"id": made.id, "packages_id": made.packages_id}
    golden.compare("release", {**files(plan()), "release.json": json.dumps(rest, indent=1) + "\n"})


def test_the_same_plan_gives_the_same_bytes_and_the_same_id() -> None:
    first, second = release(plan()), release(plan())
    assert first.to_bytes() == second.to_bytes()
    assert first.id == second.id


def test_the_id_is_of_the_server_not_of_the_write() -> None:
    written_again = release(generation=7).model_copy(update={"change": change_of("another")})
    assert written_again.id == release().id


@pytest.mark.parametrize(
    "asked", [{"port": 9000}, {"workers": 3}, {"mlflow": "3.16.0"}, {"packages": OTHER_LOCK}]
)
def test_another_plan_has_another_id(asked: dict[str, object]) -> None:
    assert release(plan(**asked)).id != release().id  # type: ignore[arg-type]
    assert not same_server(release(), render_release(plan(**asked), OUTPUTS))  # type: ignore[arg-type]


def test_the_same_plan_rendered_again_is_the_same_server() -> None:
    assert same_server(release(generation=3), render_release(plan(), OUTPUTS))


RESTARTS = [
    # asked, the files that differ beyond the names in them
    ({"workers": 3}, {"services/mlflow.sh"}),
    ({"packages": OTHER_LOCK}, {"services/mlflow.sh"}),
    ({"mlflow": "3.16.0"}, {"services/mlflow.sh"}),
    ({"port": 9000}, {"services/mlflow.env", "nginx/nginx.conf"}),
]


@pytest.mark.parametrize(("asked", "which"), RESTARTS)
def test_a_change_reaches_only_the_files_it_concerns(
    asked: dict[str, object], which: set[str]
) -> None:
    assert changed(asked) == which
    assert release(plan(**asked)).mlflow != release().mlflow  # type: ignore[arg-type]


def test_other_workers_change_no_line_of_nginx_but_its_upstream() -> None:
    before = files(plan())["nginx/nginx.conf"].splitlines()
    after = files(plan(workers=3))["nginx/nginx.conf"].splitlines()
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    names = [f"{release(of).mlflow}.sock" for of in (plan(), plan(workers=3))]
    settings = [release(of).nginx for of in (plan(), plan(workers=3))]
    assert len(pairs) == 2
    assert [text.replace(names[0], names[1]) for text, _ in pairs[:1]] == [pairs[0][1]]
    assert pairs[1][0].replace(settings[0], settings[1]) == pairs[1][1]


@pytest.mark.parametrize("asked", [{"port": 9000}, {"workers": 3}, {"packages": OTHER_LOCK}])
def test_no_change_restarts_nginx_itself(asked: dict[str, object]) -> None:
    """How it is started stays to the byte, so its processes read new settings and go on."""
    before, after = files(plan()), files(plan(**asked))  # type: ignore[arg-type]
    for path in ("services/nginx.conf", "services/nginx.sh"):
        assert before[path] == after[path], path


def test_nginx_answers_with_the_name_of_these_very_settings() -> None:
    made = release()
    assert f'"{made.nginx}"' in files(plan())["nginx/nginx.conf"]


def test_every_name_in_a_release_is_one_of_its_own() -> None:
    """A name that was hashed before the last value was in would point nowhere."""
    made = release()
    text = "".join(file.content for file in made.files)
    assert set(re.findall(r"mlflow-[0-9a-f]{8}", text)) == {made.mlflow}
    assert set(re.findall(r"packages/([0-9a-f]+)/", text)) == {made.packages_id}
    assert "00000000" not in text


def test_a_release_names_no_path_that_starts_at_the_root_of_this_computer() -> None:
    """Sockets stay short, and the machine's folder may be moved."""
    allowed = {"/bin/sh", "/dev/stdout", "/serve/"}  # the last one an address
    assert release().files
    for file in release().files:
        code = "\n".join(line.partition("#")[0] for line in file.content.splitlines())
        found = {word for word in re.split(r"[\s'\";=]+", code) if re.match(r"/\w+/", word)}
        assert found <= allowed, file.path


def test_the_shipped_values_hold_what_keeps_mlflow_shut() -> None:
    settings = dict(
        line.split("=", 1) for line in parts(plan())["services/mlflow.env"].splitlines()
    )
    assert settings["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert settings["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "*" not in settings["MLFLOW_SERVER_ALLOWED_HOSTS"]
    assert settings["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"].split(",") == [
        f"http://{host}" for host in settings["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    ]


def test_a_release_document_is_as_rendered() -> None:
    content = render_release(plan(), OUTPUTS)
    made = Release.model_validate({**content, "change": change_of()})
    assert [file.path for file in made.files] == sorted(file.path for file in made.files)
    assert made.url == OUTPUTS.url
    assert made.host == "127.0.0.1:8080"
