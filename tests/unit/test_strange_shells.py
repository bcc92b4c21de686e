"""Closed streams, narrow terminals, disks that are full or closed: a sentence, and nothing lost."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kits import COMMAND
from trackstack.environment import Environment
from unit.making import Called

Command = Callable[..., Called]

FULL = Path("/dev/full")


def in_shell(script: str, *, wrapped: tuple[str, ...] = (), **more: str) -> Called:
    """Run a script in which $T is the command; `wrapped` are programs that run the shell."""
    done = subprocess.run(
        [*wrapped, "/bin/bash", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        env={**os.environ, "T": str(COMMAND), **more},
        check=False,
    )
    return Called(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


STREAMS = {
    "standard output closed": ('"$T" list >&-', 0),
    "standard error closed": ('"$T" status -e nobodys 2>&-', 2),
    "standard input closed": ('"$T" destroy <&-', 2),
    "all closed": ('"$T" status -e nobodys <&- >&- 2>&-', 2),
    "a reader who has enough at once": ('"$T" list | true; exit "${PIPESTATUS[0]}"', None),
    "a reader of help who has enough at once": (
        '"$T" --help | true; exit "${PIPESTATUS[0]}"',
        None,
    ),
    "a terminal of 20 columns": ('COLUMNS=20 "$T" deploy local --help', 0),
    "a terminal of 20 columns, and a list": ('COLUMNS=20 "$T" users list', 0),
}


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("script", "code"), STREAMS.values(), ids=STREAMS)
def test_a_strange_shell_is_put_up_with(script: str, code: int | None) -> None:
    called = in_shell(script)
    assert "has a bug" not in called.err, called.err
    # Whether the pipe is gone before or after all was written is up to the system.
    assert called.code in ({0, 1} if code is None else {code})


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_help_is_shown_where_not_every_letter_can_be(encoding: str) -> None:
    """It holds letters such as the ellipsis."""
    called = in_shell('"$T" deploy local --help', PYTHONIOENCODING=encoding)
    assert (called.code, called.err) == (0, "")
    assert "--listen" in called.out


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
def test_an_output_that_is_full_is_told(environment: Environment) -> None:
    assert environment.exists
    called = in_shell('"$T" list >/dev/full')
    assert (called.code, "disk is full" in called.err) == (1, True), called.err


NO_PASSWORD_FILES = {
    "a folder": lambda base: base,
    "below a file": lambda base: base / "file" / "passwords",
    "a device, which would be replaced": lambda _: Path("/dev/null"),
    "a link, which would be replaced": lambda base: base / "link",
    "a pipe": lambda base: base / "pipe",
    "where nobody may write": lambda _: Path("/proc/passwords"),
}


@pytest.mark.parametrize("place", NO_PASSWORD_FILES.values(), ids=NO_PASSWORD_FILES)
@pytest.mark.parametrize(
    "arguments",
    [["users", "rotate", "ada"], ["users", "add", "bob"], ["deploy", "local", "-e", "other"]],
    ids=" ".join,
)
def test_a_password_file_that_cannot_be_written_is_refused_before_anything_changes(
    command: Command,
    environment: Environment,
    tmp_path: Path,
    place: Callable[[Path], Path],
    arguments: list[str],
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    before = (environment.folder / "control/desired/users.json").read_bytes()
    called = command(*arguments, "--password-file", place(tmp_path))
    assert (called.code, "nothing was changed" in called.err) == (2, True), called.err
    assert (environment.folder / "control/desired/users.json").read_bytes() == before
    assert not Environment("other").folder.exists()
    assert (tmp_path / "link").is_symlink()
    assert Path("/dev/null").is_char_device()


def test_a_link_is_not_replaced_by_a_file_of_variables(
    command: Command, environment: Environment, tmp_path: Path
) -> None:
    assert environment.exists
    (tmp_path / ".env").symlink_to("elsewhere")
    called = command("env", "--dotenv", tmp_path / ".env")
    assert (called.code, "not a plain file" in called.err) == (2, True), called.err
    assert (tmp_path / ".env").is_symlink()


UNUSABLE_HOMES = {
    "a file": "touch {home}",
    "below a file": "touch {base}/file && TRACKSTACK_HOME={base}/file/home",
    "on a disk that is only for reading": "mkdir {home} && mount -t tmpfs -o ro none {home}",
    "on a full disk": "mkdir {home} && mount -t tmpfs -o size=16k none {home} "
    "&& head -c 16k /dev/zero >{home}/x",
}


@pytest.fixture
def apart() -> tuple[str, ...]:
    """What runs a program with mounts of its own, which are gone with it."""
    wrapped = ("unshare", "--mount")
    if not shutil.which("unshare") or subprocess.run([*wrapped, "true"], check=False).returncode:
        pytest.skip("this account may not have mounts of its own")
    return wrapped


@pytest.mark.parametrize("script", UNUSABLE_HOMES.values(), ids=UNUSABLE_HOMES)
def test_a_home_that_nothing_can_be_kept_in_is_told_with_the_way_out(
    apart: tuple[str, ...], tmp_path: Path, script: str
) -> None:
    home = tmp_path / "unusable"
    made = script.format(home=home, base=tmp_path)
    called = in_shell(f'export TRACKSTACK_HOME={home}; {made} && "$T" deploy local', wrapped=apart)
    assert called.code in {1, 4}, called.err
    assert str(tmp_path) in called.err
    assert "set TRACKSTACK_HOME" in called.err
    assert "has a bug" not in called.err


@pytest.mark.parametrize("name", ["a file", "below a file"])
def test_doctor_tells_that_a_home_is_none(tmp_path: Path, name: str) -> None:
    home = tmp_path / "unusable"
    made = UNUSABLE_HOMES[name].format(home=home, base=tmp_path)
    called = in_shell(f'export TRACKSTACK_HOME={home}; {made}; "$T" doctor')
    assert called.code == 4, called.out
    assert "is a file" in called.out


def test_a_folder_of_somebody_else_is_told(tmp_path: Path) -> None:
    """Root is held back by nothing, unless it gives that up."""
    without = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can give a folder away, and setpriv is needed to be held back by it")
    home = tmp_path / "theirs"
    home.mkdir(mode=0o755)
    os.chown(home, 65534, 65534)
    deploying = in_shell('"$T" deploy local', wrapped=without, TRACKSTACK_HOME=str(home))
    assert (deploying.code, "Permission denied" in deploying.err) == (1, True), deploying.err
    assert "set TRACKSTACK_HOME" in deploying.err
    looking = in_shell('"$T" doctor', wrapped=without, TRACKSTACK_HOME=str(home))
    assert (looking.code, "may not write" in looking.out) == (4, True), looking.out
    assert list(home.iterdir()) == []


def test_a_change_of_users_on_a_full_disk_changes_nothing(
    apart: tuple[str, ...], environment: Environment, home: Path
) -> None:
    users = "environments/local/control/desired/users.json"
    script = (
        f"mkdir $H && mount -t tmpfs -o size=2m none $H && cp -r {home}/. $H && "
        '{ cat /dev/zero >$H/x || true; } 2>/dev/null; export TRACKSTACK_HOME=$H; "$T" list && '
        '{ "$T" users add bob --show-passwords; code=$?; }; '
        f"cmp $H/{users} {home}/{users} && exit $code"
    )
    assert environment.exists
    called = in_shell(script, wrapped=apart, H=f"{home}-small")
    assert (called.code, "disk is full" in called.err) == (1, True), called
    assert "bob" not in called.out


def test_without_a_network_it_is_told_which_packages_could_not_be_looked_up() -> None:
    if subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("this account may not be without a network")
    called = in_shell(
        '"$T" plan local --extra-package six', wrapped=("unshare", "--net"), UV_HTTP_RETRIES="0"
    )
    assert called.code == 1
    assert "six could not be looked up" in called.err
    assert "Check the network" in called.err


def test_a_certificate_is_taken_back_by_asking_for_another_kind(
    command: Command, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "server: {listen: 0.0.0.0, hostnames: [mlflow.example.com], tls: files, "
        "certificate: /a.pem, key: /a.key}\n"
    )
    files = command("plan", "local", "-f", spec)
    own = command("plan", "local", "-f", spec, "--tls", "own")
    upstream = command(
        *("plan", "local", "-f", spec, "--tls", "upstream", "--trusted-proxy", "10.1.0.0/16")
    )
    assert "/a.pem" in files.out
    for other in (own, upstream):
        assert (other.code, other.err) == (0, "")
        assert "/a.pem" not in other.out


@pytest.mark.parametrize("network", ["0.0.0.0/0", "128.0.0.0/1", "0.0.0.0/7"])
def test_everybody_is_no_proxy(command: Command, network: str) -> None:
    called = command("plan", "local", "--tls", "upstream", "--trusted-proxy", network)
    assert (called.code, "everybody for a proxy" in called.err) == (2, True), called.err


def test_a_terminal_is_not_made_to_obey_what_stands_in_a_file(
    command: Command, tmp_path: Path
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text('server: {"\\e[31m": 1}\n')
    called = command("plan", "local", "-f", spec)
    assert called.code == 2
    assert "\x1b" not in called.err
