"""Whatever stands in a file that the kit reads, it is read or refused with one sentence."""

import json
import os
import string
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trackstack import htpasswd, names, spec
from trackstack.agent.converge import _pause
from trackstack.agent.desired_state import DesiredState
from trackstack.agent.ensure_users import ensure_users
from trackstack.agent.machine import StepError
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Cleanup, Document, Release, Users
from trackstack.environment import Environment
from trackstack.errors import TrackstackError, UsageError
from unit import making

T = TypeVar("T")

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.dates() | st.binary(max_size=5)
)  # fmt: skip
KEYS = st.sampled_from(
    [*spec.LocalSpec.model_fields, *spec.Server.model_fields, *spec.Stores.model_fields]
)
STRUCTURES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=15,
)


def refusal_of(file: Path) -> str | None:
    """What is said against a spec; None when it is taken."""
    try:
        spec.load(file)
    except UsageError as error:
        return error.sentence
    return None


def is_one_sentence(text: str) -> bool:
    return text.isprintable() and text.endswith(".")


def read_or_refused(read: Callable[[], T]) -> T | None:
    """What is read; None when it is refused with one sentence. Anything else fails the test."""
    try:
        return read()
    except TrackstackError as error:
        sentence = error.sentence
    except StepError as error:
        sentence = error.problem
    assert is_one_sentence(sentence), sentence
    return None


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that each example writes anew."""
    return tmp_path_factory.mktemp("spec") / "team.yaml"


@given(
    data=st.binary(max_size=200) | st.text(alphabet=string.printable, max_size=200).map(str.encode)
)
def test_any_bytes_are_a_spec_or_refused(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    told = refusal_of(file)
    assert told is None or is_one_sentence(told), told


@given(content=STRUCTURES)
def test_any_structure_is_a_spec_or_refused(file: Path, content: object) -> None:
    file.write_text(yaml.safe_dump(content, allow_unicode=True))
    told = refusal_of(file)
    assert told is None or is_one_sentence(told), told


_TENFOLD = "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
HOSTILE = {
    "references that stand for 9 to the 11th values": f"a0: &a0 [x]\n{_TENFOLD}",
    "the same below a known key": f"a0: &a0 [x]\n{_TENFOLD}users: *a11\n",
    "the same by merging": "a0: &a0 {k: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)),
    "a list that holds itself": "users: &a [*a]",
    "a mapping that holds itself": "server: &a {port: *a}",
    "a number of 5,000 digits": "server: {port: " + "9" * 5000 + "}",
    "a number of 50,000 hexadecimal digits": "server: {port: 0x" + "f" * 50_000 + "}",
    "a number to the base of 60": "server: {port: 1:" + "59:" * 3000 + "1}",
    "lists in lists": "[" * 50_000,
    "mappings in mappings": "{a: " * 10_000,
    "lists in lists without brackets": "- " * 20_000,
    "ten million letters": "environment: " + "a" * 10_000_000,
    "ten million letters of a comment": "#" * 10_000_000,
    "a name of 60,000 letters": "environment: " + "a" * 60_000,
    "5,000 unknown keys": "".join(f"k{n}: 1\n" for n in range(5000)),
    "5,000 wrong users": f"users: [{'7,' * 5000}7]",
    "a key that is a list": "? [1]\n: 2\n",
    "a key that paints the terminal red": '"\\e[31m": 1',
    "a key below another that does": 'server: {"\\e[31m": 1}',
    "a value that does": 'environment: "\\e[31m"',
    "a key on two lines": 'server: {"a\\nb": 1}',
    "half a letter": 'environment: "\\ud800"',
    "half a letter as a key": '"\\ud800": 1',
    "half a letter as a key below": 'server: {"\\ud800": 1}',
    "NUL": "environment: a\x00b",
    "a tagged number that is none": "server: {port: !!int ''}",
    "a tagged number of underscores": "server: {port: !!int '_'}",
    "a tagged truth that is none": "protected: !!bool maybe",
    "a tagged time that is none": "environment: !!timestamp x",
    "tagged bytes that are none": "environment: !!binary é",
    "a time that is none": "environment: 2026-13-45T25:00:00Z",
    "another program": "users: !!python/object/apply:os.system [ls]",
    "merging a number": "server: {<<: 5}",
}

LOAD_EACH = """
import json, resource, sys
from pathlib import Path
from unit.test_fuzz import HOSTILE, refusal_of
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
file = Path(sys.argv[1])
for name, text in HOSTILE.items():
    file.write_text(text, encoding="utf-8")
    print(json.dumps([name, refusal_of(file)]), flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What is said of each, by a process that may neither take long nor much memory."""
    done = subprocess.run(
        [sys.executable, "-c", LOAD_EACH, tmp_path_factory.mktemp("hostile") / "team.yaml"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    pairs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(pairs) == len(HOSTILE), f"after {pairs[-1:]}: {done.stderr}"
    return dict(pairs)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_spec_is_refused_with_one_sentence(
    told: dict[str, str | None], name: str
) -> None:
    sentence = told[name]
    assert sentence is not None, "it was taken"
    assert is_one_sentence(sentence), sentence
    # Twice the longest value that is shown: a name.
    assert len(sentence) < 130_000


HASHES = st.sampled_from(["{SSHA}", "{PLAIN}", "$apr1$", "$2y$12$", "$6$", "$y$", "{SHA}", ""])
LINES = st.lists(
    st.tuples(
        st.text(alphabet="ad.@-_ #\t\x00", max_size=6),
        st.sampled_from([":", "", "::"]),
        HASHES,
        st.text(alphabet=string.printable, max_size=70),
    ).map("".join),
    max_size=4,
)


@given(LINES.map("\n".join) | st.text(max_size=200))
def test_any_password_file_is_read_or_refused(text: str) -> None:
    for entry in read_or_refused(lambda: htpasswd.parse(text)) or []:
        assert names.user(entry.user) == entry.user
        making.user(hashed=entry.hash)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["..", "../x", "/etc/x", "a/b", "\x00", "9999-12-31T23:59:59+00:00",
                       "0001-01-01T00:00:00+14:00", "services/../../x", "a\n", "trackstack.x"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
DOCUMENTS: list[Document] = [
    making.users_document(ada=making.user(expires=making.NOON + timedelta(days=1))),
    making.release(),
    making.cleanup(),
]


@st.composite
def mutated(draw: st.DrawFn, content: Any) -> bytes:
    """JSON in which one value, key or stretch of bytes is another."""
    content = json.loads(json.dumps(content))
    place, parent = content, None
    key: Any = None
    while isinstance(place, (dict, list)) and place and draw(st.integers(0, 4)):
        parent = place
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place = parent[key]
    how = draw(st.sampled_from(["value", "key", "gone", "bytes"]))
    if parent is not None and how == "value":
        parent[key] = draw(JSON)
    elif isinstance(parent, dict) and how == "key":
        parent[draw(st.text(max_size=12) | st.sampled_from(["..", "a/b", "../x", ""]))] = place
    elif parent is not None and how == "gone":
        del parent[key]
    data = json.dumps(content).encode()
    if how == "bytes":
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(st.binary(max_size=4)) + data[start + draw(st.integers(0, 9)) :]
    return data


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    return DirectoryStore(tmp_path_factory.mktemp("control"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine's folder; nothing may ever come to be beside its folder of users."""
    folder = tmp_path_factory.mktemp("around") / "machine"
    (folder / "users").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: type(document).__name__)
@given(data=st.data())
def test_a_mutated_document_is_read_as_it_stands_or_refused(
    document: Document, data: st.DataObject
) -> None:
    content = data.draw(mutated(document.model_dump(mode="json")))
    read = read_or_refused(lambda: type(document).from_bytes(content))
    if read is None:
        return
    assert type(document).from_bytes(read.to_bytes()) == read
    if isinstance(read, Release):
        for file in read.files:
            assert Path(file.path).parts[0] in {"nginx", "services"}
            assert len(Path(file.path).parts) == 2
            assert ".." not in Path(file.path).parts


@given(data=st.data())
def test_no_mutated_document_breaks_the_agents_round_or_leaves_its_folder(
    store: DirectoryStore, machine: Path, data: st.DataObject
) -> None:
    for document in DOCUMENTS:
        content = data.draw(mutated(document.model_dump(mode="json")))
        held = store.get(document.KEY)
        store.put(document.KEY, content, expect=held.tag if held else None)
    desired = DesiredState(store)
    this = desired.read(making.FakeMachine())
    assert {Users.KEY, Release.KEY, Cleanup.KEY} < set(desired.tags)
    assert _pause(this, 0, 30.0, looked_at=False) > 0
    before = Path.cwd()
    os.chdir(machine)
    try:
        read_or_refused(lambda: ensure_users(this))
    finally:
        os.chdir(before)
    beside = {path.name for path in (machine.parent, machine) for path in path.iterdir()}
    assert beside == {"machine", "users"}
    assert all(len(path.relative_to(machine).parts) <= 3 for path in machine.rglob("*"))


@given(data=st.data())
def test_a_mutated_record_is_read_or_refused(data: st.DataObject) -> None:
    made = Environment("local")
    if not made.exists:
        made = making.deployed("local", "ada")
        whole = json.loads((made.folder / "record.json").read_bytes())
        whole["plan"]["packages"] = making.LOCK
        (made.folder / "whole.json").write_text(json.dumps(whole))
    whole = json.loads((made.folder / "whole.json").read_bytes())
    (made.folder / "record.json").write_bytes(data.draw(mutated(whole)))
    read_or_refused(made.existing_record)


@given(data=st.binary(max_size=60) | JSON.map(json.dumps).map(str.encode))
def test_any_credentials_file_holds_logins_or_none(data: bytes) -> None:
    made = Environment("local")
    made.folder.mkdir(parents=True, exist_ok=True)
    (made.folder / "credentials.json").write_bytes(data)
    owner = made.owner()
    assert owner is None or isinstance(made.password(owner), str)
