"""The spec: what may be asked, how it is refused, and that nothing recorded changes unasked."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trackstack import spec
from trackstack.errors import UsageError
from unit.making import content

PORT = "a whole number from 1024 to 65535, such as 8080"
WORKER = "a whole number from 1 to 64, such as 2"
MLFLOW = "a version of MLflow 3, in quotes, such as '3.17.2'"
PACKAGE, NETWORK = "a package, such as boto3", "a network, such as 10.0.0.0/24"
LISTEN = "an IPv4 address, such as '127.0.0.1'"
HOST = "a name, such as mlflow.example.com"
DID = "is not a key of the spec (did you mean"
HOSTNAMES = "a list of names, such as [mlflow.example.com]"
PACKAGES = "a list of packages, such as [boto3]"
TOP = "target, environment, server, stores, users, protected, at_login"
SERVER = (
    "listen, port, hostnames, tls, certificate, key, trusted_proxies, workers, mlflow, "
    "extra_packages"
)
STORES = "database, artifacts, artifacts_endpoint"
BAD: list[tuple[str, str]] = [
    # the file, and every part of the sentence that follows its name
    ("server: {port: 80}", f"server.port is 80 and should be {PORT}"),
    ("server: {port: 65536}", f"server.port is 65536 and should be {PORT}"),
    ("server: {port: '8080'}", f"server.port is '8080' and should be {PORT}"),
    ("server: {port: 8080.0}", f"server.port is 8080.0 and should be {PORT}"),
    ("server: {port: }", f"server.port is empty and should be {PORT}"),
    ("server: {workers: 0}", f"server.workers is 0 and should be {WORKER}"),
    ("server: {workers: true}", f"server.workers is true and should be {WORKER}"),
    ("server: {mlflow: 3.17}", f"server.mlflow is 3.17 and should be {MLFLOW}"),
    ("server: {mlflow: '2.1.0'}", f"server.mlflow is '2.1.0' and should be {MLFLOW}"),
    ("server: {mlflow: '3.17.2; x'}", f"server.mlflow is '3.17.2; x' and should be {MLFLOW}"),
    ("server: ", "server is empty and should be a group of keys such as port and workers"),
    ("server: 8080", "server is 8080 and should be a group of keys such as port and workers"),
    ("server: {prot: 1}", "server.prot is not a key of the spec (did you mean 'port'?)"),
    ("server: {hue: 1}", f"server.hue is not a key of the spec (known are {SERVER})"),
    ("server: {1: 2}", f"server.1 is not a key of the spec (known are {SERVER})"),
    ("port: 9000", "port is not a key of the spec (did you mean 'server.port'?)"),
    ("user: [ada]", "user is not a key of the spec (did you mean 'users'?)"),
    ("colour: red", f"colour is not a key of the spec (known are {TOP})"),
    ("server: {hostname: a}", f"server.hostname {DID} 'hostnames'?)"),
    ("hostnames: [a]", "hostnames is not a key of the spec (did you mean 'server.hostnames'?)"),
    ("server: {hostnames: gpu1}", f"server.hostnames is 'gpu1' and should be {HOSTNAMES}"),
    ("server: {hostnames: [gpu1, 7]}", f"server.hostnames.1 is 7 and should be {HOST}"),
    ("server: {listen: 7}", f"server.listen is 7 and should be {LISTEN}"),
    ("server: {tls: mine}", "server.tls is 'mine' and should be own, files or upstream"),
    ("server: {tls: true}", "server.tls is true and should be own, files or upstream"),
    ("server: {key: 7}", "server.key is 7 and should be the path of a PEM file"),
    ("server: {extra_packages: b}", f"server.extra_packages is 'b' and should be {PACKAGES}"),
    ("server: {extra_packages: [7]}", f"server.extra_packages.0 is 7 and should be {PACKAGE}"),
    ("server: {trusted_proxies: [7]}", f"server.trusted_proxies.0 is 7 and should be {NETWORK}"),
    ("database: x", "database is not a key of the spec (did you mean 'stores.database'?)"),
    ("stores: ", "stores is empty and should be a group of keys such as database and artifacts"),
    ("stores: {bucket: s3://a}", f"stores.bucket is not a key of the spec (known are {STORES})"),
    ("stores: {artefacts: s3://a}", f"stores.artefacts {DID} 'artifacts'?)"),
    ("users: ada", "users is 'ada' and should be a list of names, such as [ada, grace]"),
    ("users: []", "users is [] and should be a list of names, such as [ada, grace]"),
    ("users: ", "users is empty and should be a list of names, such as [ada, grace]"),
    ("users: [ada, 7]", "users.1 is 7 and should be a name, such as ada"),
    ("at_login: maybe", "at_login is 'maybe' and should be true or false"),
    ("protected: maybe", "protected is 'maybe' and should be true or false"),
    ("target: azure", "target is 'azure' and should be 'local', 'compose', 'aws' or 'gcp'"),
    ("environment: 5", "environment is 5 and should be a name, such as 'team-a'"),
    (
        "server: {port: 1, workers: 0}",
        f"server.port is 1 and should be {PORT}; "
        f"server.workers is 0 and should be {WORKER}",
    ),
]  # fmt: skip
NOT_YAML = [
    (b"target: local\nserver: {port: [\n", "line 3"),
    (b"target: local\n\tserver:\n", "line 2"),
    (b"target: local\ntarget: local\n", "line 2: the key 'target' stands there twice"),
    (b"server:\n  port: 8080\n  workers: 2\n  port: 9090\n", "line 4: the key 'port' stands there"),
    (b"target: local\n---\ntarget: local\n", "line 2"),
    (b"target: !!python/object/apply:os.system [ls]\n", "line 1"),
    (b"users: *nobody\n", "line 1"),
    (b"target: \x00\n", "special characters are not allowed"),
    (b"target: 2026-13-45\n", ""),
    (b"[" * 400, ""),
]
NOT_KEYS_AND_VALUES = [b"- local\n", b"local\n", b"5\n", b"1: local\n", b"true: local\n"]


def written(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "team.yaml"
    file.write_bytes(data)
    return file


def refused(file: Path) -> str:
    with pytest.raises(UsageError) as error:
        spec.load(file)
    assert "\n" not in error.value.sentence
    return error.value.sentence


@pytest.mark.parametrize(("text", "told"), BAD)
def test_a_bad_spec_is_told_with_key_value_and_what_would_be_right(
    tmp_path: Path, text: str, told: str
) -> None:
    file = written(tmp_path, text.encode())
    assert refused(file) == f"The spec {file}: {told}."


def test_a_bad_name_is_told_with_the_key_it_stands_under(tmp_path: Path) -> None:
    file = written(tmp_path, b"environment: Team_A\nusers: [ada, Grace]\n")
    sentence = refused(file)
    assert "environment: 'Team_A' is not a name for an environment" in sentence
    assert "users.1: 'Grace' is not a name for a user" in sentence


@pytest.mark.parametrize(("data", "told"), NOT_YAML)
def test_a_file_that_is_not_yaml_is_told_with_its_line(
    tmp_path: Path, data: bytes, told: str
) -> None:
    file = written(tmp_path, data)
    sentence = refused(file)
    assert sentence.startswith(f"The spec {file} is not YAML")
    assert told in sentence


@pytest.mark.parametrize("data", NOT_KEYS_AND_VALUES)
def test_a_file_without_keys_is_told_what_keys_look_like(tmp_path: Path, data: bytes) -> None:
    file = written(tmp_path, data)
    assert refused(file) == f"The spec {file} should be keys and values, such as 'target: local'."


def test_a_file_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    file = written(tmp_path, "environment: é".encode("latin-1"))
    assert refused(file) == f"The spec {file} cannot be read: it is not UTF-8 text."


def test_a_spec_is_utf8_whatever_this_computer_speaks(tmp_path: Path) -> None:
    file = written(tmp_path, "# größe\nserver: {port: 9000}\n".encode())
    code = (
        "import sys; from pathlib import Path; from trackstack import spec; "
        "print(spec.load(Path(sys.argv[1])))"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code, file],
        capture_output=True,
        text=True,
        env={**os.environ, **ascii_only},
        check=False,
    )
    assert done.stdout == "{'server': {'port': 9000}}\n", done.stderr


@pytest.mark.parametrize(("name", "why"), [("no.yaml", "No such file"), (".", "Is a directory")])
def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path, name: str, why: str) -> None:
    assert why in refused(tmp_path / name)


@pytest.mark.parametrize("data", [b"", b"# only a comment\n", b"---\n", b"{}\n", b"\xef\xbb\xbf"])
def test_an_empty_spec_asks_for_nothing(tmp_path: Path, data: bytes) -> None:
    assert spec.load(written(tmp_path, data)) == {}


def test_a_mapping_taken_over_from_another_may_be_overridden(tmp_path: Path) -> None:
    file = written(tmp_path, b"server: {<<: {port: 8080}, port: 9000}\n")
    assert spec.load(file) == {"server": {"port": 9000}}


LOWER = "abcdefghijklmnopqrstuvwxyz"
user_names = st.builds(
    str.__add__,
    st.sampled_from(LOWER + "0123456789"),
    st.text(alphabet=LOWER + "0123456789._@+-", max_size=20),
).filter(lambda name: not name.startswith("trackstack."))
# What excludes each other is in test_exposure.py; these go with each other in any mixture.
KEPT_TOGETHER: dict[str, st.SearchStrategy[Any]] = {
    "listen": st.sampled_from(["127.0.0.1", "192.168.1.20"]),
    "hostnames": st.lists(st.sampled_from(["gpu1", "mlflow.example.com"]), max_size=2),
    "tls": st.just("own"),
    "certificate": st.none(),
    "key": st.none(),
    "trusted_proxies": st.just([]),
}
specs = st.fixed_dictionaries(
    {
        "target": st.just("local"),
        "environment": st.text(alphabet=LOWER, min_size=1, max_size=31),
        "server": st.fixed_dictionaries(
            {
                "port": st.integers(1024, 65535),
                "workers": st.integers(1, 64),
                "mlflow": st.builds("3.{}.{}".format, st.integers(0, 999), st.integers(0, 999)),
                "extra_packages": st.lists(st.sampled_from(["boto3", "sklearn>=1"]), max_size=2),
                **KEPT_TOGETHER,
            }
        ),
        "stores": st.fixed_dictionaries(
            {
                "database": st.none() | st.just("postgresql://mlflow@db/runs"),
                "artifacts": st.none() | st.sampled_from(["s3://bucket/a", "gs://bucket"]),
                "artifacts_endpoint": st.none(),
            }
        ),
        "users": st.lists(user_names, min_size=1, max_size=3),
        "protected": st.booleans(),
        "at_login": st.booleans(),
    }
)


@given(whole=specs)
def test_a_spec_comes_back_from_yaml_and_from_json_as_it_was(
    whole: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = written(tmp_path_factory.mktemp("spec"), yaml.safe_dump(whole).encode())
    loaded = spec.load(file)
    checked = spec.validate(loaded, "The test")
    assert checked.model_dump() == loaded == whole
    assert spec.LocalSpec.model_validate_json(checked.model_dump_json()) == checked


@given(base=specs, above=specs, keys=st.sets(st.sampled_from(["port", "workers", "mlflow"])))
def test_the_mapping_above_wins_key_by_key(
    base: dict[str, Any], above: dict[str, Any], keys: set[str]
) -> None:
    patch = {"server": {key: above["server"][key] for key in keys}}
    result = spec.merged(base, patch)
    for key, value in result["server"].items():
        assert value == (above if key in keys else base)["server"][key]
    assert {**result, "server": 0} == {**base, "server": 0}


def test_merging_leaves_both_as_they_were() -> None:
    below, above = {"server": {"port": 1}}, {"server": {"workers": 2}}
    spec.merged(below, above)
    assert (below, above) == ({"server": {"port": 1}}, {"server": {"workers": 2}})


OLD, NEW = content(port=8080, workers=2), content(port=1111, workers=3, mlflow="3.99.0")
DECISIONS = [
    # asked now, asked then, decided then, the port that follows
    ({}, {}, {}, 1111, "a first deploy takes the default"),
    ({"port": 9000}, {}, {}, 9000, "a first deploy takes what is asked"),
    ({}, {}, {"port": 8080}, 8080, "nobody asked, then as now: it stays, whatever the default is"),
    ({"port": 9000}, {}, {"port": 8080}, 9000, "who asks gets it"),
    ({"port": 9000}, {"port": 9000}, {"port": 9000}, 9000, "who asks again gets it again"),
    ({}, {"port": 9000}, {"port": 9000}, 1111, "asked then and no longer: back to the default"),
    ({"port": 7000}, {"port": 9000}, {"port": 9000}, 7000, "who asks for another gets the other"),
]


@pytest.mark.parametrize(
    ("asked", "recorded", "decided", "port"), [row[:4] for row in DECISIONS],
    ids=[row[4] for row in DECISIONS],
)  # fmt: skip
def test_what_is_decided(
    asked: spec.Asked, recorded: spec.Asked, decided: spec.Asked, port: int
) -> None:
    result = spec.decide(
        {"server": asked} if asked else {},
        {"server": recorded} if recorded else {},
        {**OLD, "server": {**OLD["server"], **decided}} if decided else {},
        NEW,
    )
    assert result["server"]["port"] == port


@given(decided=specs, fallback=specs)
def test_whatever_a_newer_kit_would_choose_nothing_changes_unasked(
    decided: dict[str, Any], fallback: dict[str, Any]
) -> None:
    assert spec.decide({}, {}, decided, fallback) == decided


@given(asked=specs, recorded=specs, decided=specs, fallback=specs)
def test_a_spec_that_says_all_is_the_whole_truth(
    asked: dict[str, Any],
    recorded: dict[str, Any],
    decided: dict[str, Any],
    fallback: dict[str, Any],
) -> None:
    assert spec.decide(asked, recorded, decided, fallback) == asked


GB = 10**9
WORKERS = [
    # cores, memory, workers
    (1, 64 * GB, 1),
    (2, 64 * GB, 2),
    (4, 64 * GB, 4),
    (96, 512 * GB, 4),
    (8, int(0.5 * GB), 1),
    (8, 1 * GB, 1),
    (8, int(1.51 * GB), 1),
    (8, int(1.53 * GB), 2),
    (8, int(2.07 * GB), 2),
    (8, int(2.09 * GB), 3),
    (8, int(2.63 * GB), 3),
    (8, int(2.65 * GB), 4),
]


@pytest.mark.parametrize(("cores", "memory", "workers"), WORKERS)
def test_the_default_workers_fit_cores_and_half_of_the_memory(
    cores: int, memory: int, workers: int
) -> None:
    assert spec.default_workers(cores, memory) == workers


def test_the_defaults_of_this_computer_are_a_spec() -> None:
    decided = spec.defaults("local", "local", "Ada L", "3.17.2")
    assert spec.validate(decided, "The defaults").users == ["adal"]
