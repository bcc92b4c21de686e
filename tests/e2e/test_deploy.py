"""What a deploy makes on this computer, and what it leaves alone."""

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from servers import ADA, OWNER, Server, all_files, all_in, kill_all_in, processes_in

import trackstack
from kits import COMMAND, content_of, free_port, variables_of, words_of
from trackstack import bundle


def test_the_same_deploy_again_changes_nothing(server: Server) -> None:
    before = _kept(server), server.pids()
    done = server.run("deploy", "local", "--port", str(server.port), "--workers", "1")
    assert done.stdout.startswith("Nothing changed.")
    assert (_kept(server), server.pids()) == before


def test_nothing_is_written_to_the_account_s_home_or_the_temporary_folder(server: Server) -> None:
    assert sorted(server.account.glob("*/*")) == []


def test_its_processes_hold_no_file_open_for_writing_outside_the_home_folder(
    server: Server,
) -> None:
    home = str(server.home.resolve())
    written = {path for process in processes_in(server.home) for path in _written_by(process)}
    assert written, "nothing is open for writing: this proves nothing"
    assert {path for path in written if not path.startswith(home)} == set()


def test_nginx_writes_to_no_folder_that_was_compiled_into_it(server: Server) -> None:
    told = subprocess.run(["nginx", "-V"], capture_output=True, text=True, check=True).stderr
    compiled_in = [
        Path(word.partition("=")[2].strip("'"))
        for word in told.split()
        if word.startswith(("--http-log-path", "--error-log-path", "--pid-path", "--lock-path"))
    ]
    started = (server.machine() / "nginx.conf").lstat().st_mtime
    assert [path for path in compiled_in if path.exists() and path.stat().st_mtime > started] == []


def test_one_port_of_this_computer_listens_and_no_other_address(server: Server) -> None:
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for process in processes_in(server.home)
        for connection in _connections_of(process)
        if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    }
    assert listening == {("127.0.0.1", server.port)}


def test_everything_the_kit_made_is_closed_to_other_accounts(server: Server) -> None:
    made_by_the_tests = {server.home, server.home / "environments", server.folder()}
    made_by_the_tests |= {server.machine(), server.machine() / "packages"}
    # What an installer unpacks keeps its modes, behind a folder that is closed: the second by the
    # kit, the first where the tests did not make it.
    closed = server.home / "cache" / "pythons"
    assert not closed.exists() or stat.S_IMODE(closed.stat().st_mode) == 0o700
    unpacked = (str(server.machine() / "packages"), f"{closed}/")
    open_to_others = [
        entry
        for entry in all_in(server.home)
        if entry not in made_by_the_tests
        and not str(entry).startswith(unpacked)
        and not entry.is_symlink()
        and not entry.is_socket()  # each lies in a folder that is closed
        and _mode(entry) & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    assert open_to_others == []


def test_no_secret_is_in_a_command_line_of_any_process(
    server: Server, secrets: dict[str, str]
) -> None:
    assert server.pids()["mlflow"]
    lines = [
        " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])
    ]
    assert [name for name, secret in secrets.items() if any(secret in line for line in lines)] == []


@pytest.mark.parametrize("place", ["machine/logs", "control", "receipts", "record.json"])
def test_no_secret_is_in(server: Server, secrets: dict[str, str], place: str) -> None:
    top = server.folder() / place
    files = [top] if top.is_file() else [file for file in all_in(top) if file.is_file()]
    assert files, f"{place} holds nothing: this proves nothing"
    found = [
        (name, file) for file in files for name, secret in secrets.items()
        if secret.encode() in content_of(file)
    ]  # fmt: skip
    assert found == []


def test_no_password_is_in_the_environment_of_a_process(
    server: Server, secrets: dict[str, str]
) -> None:
    environments = {
        process.pid: "\n".join(variables_of(process).values())
        for process in processes_in(server.home)
    }
    assert any(environments.values()), "no process told its variables: this proves nothing"
    passwords = [secret for name, secret in secrets.items() if "password" in name]
    assert [
        pid for pid, text in environments.items() if any(each in text for each in passwords)
    ] == []


def test_only_mlflow_has_mlflow_s_own_keys(server: Server, secrets: dict[str, str]) -> None:
    keys = [secret for name, secret in secrets.items() if name.startswith("MLFLOW_")]
    holders = {
        line
        for process in processes_in(server.home)
        if (line := " ".join(words_of(process)))
        and any(key in variables_of(process).values() for key in keys)
    }
    assert keys
    assert holders, "no process has them: this proves nothing"
    assert all("mlflow" in line for line in holders), holders


def test_a_port_that_is_taken_is_told_with_one_that_is_free(server: Server, another: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = server.run("deploy", "local", "-e", another, "--port", str(port), ok=False)
    assert done.returncode == 1
    assert f"Port {port} of this computer is taken" in done.stderr
    assert "such as `--port" in done.stderr


def test_a_refused_first_deploy_leaves_no_environment_behind(server: Server, another: str) -> None:
    server.run("deploy", "local", "-e", another, "--port", str(server.port), ok=False)
    assert not server.folder(another).exists()


def test_a_computer_without_nginx_is_told_how_to_get_it(server: Server, another: str) -> None:
    done = _without_nginx(server, "deploy", "local", "-e", another, "--port", str(free_port()))
    assert (done.returncode, "nginx is missing" in done.stderr) == (4, True), done.stderr
    assert not server.folder(another).exists()


def test_a_home_folder_that_mlflow_cannot_run_below_is_refused(
    server: Server, tmp_path: Path
) -> None:
    done = server.run(
        *("deploy", "local", "--port", str(free_port())),
        ok=False,
        TRACKSTACK_HOME=str(tmp_path / "100%"),
    )
    assert (done.returncode, "percent sign" in done.stderr) == (4, True), done.stderr
    assert not (tmp_path / "100%").exists()


def test_a_newer_kit_with_other_defaults_changes_nothing_unasked(
    server: Server, other_kit: Callable[[str], Path]
) -> None:
    before = _kept(server), server.pids()
    done = server.run("deploy", "local", PYTHONPATH=str(other_kit("99.0.0")))
    assert done.stdout.startswith("Nothing changed."), done.stdout + done.stderr
    assert (_kept(server), server.pids()) == before


def test_a_newer_kit_says_that_nothing_would_change(
    server: Server, other_kit: Callable[[str], Path]
) -> None:
    done = server.run(
        "plan", "local", "--detailed-exitcode", PYTHONPATH=str(other_kit("99.0.0")), ok=False
    )
    assert (done.returncode, "Nothing would change" in done.stdout) == (0, True), done.stdout


def test_an_older_kit_refuses_and_names_the_one_to_install(
    server: Server, other_kit: Callable[[str], Path]
) -> None:
    before = _kept(server)
    older = other_kit("0.0.1")
    done = server.run("deploy", "local", "--workers", "2", PYTHONPATH=str(older), ok=False)
    assert done.returncode == 1
    assert f"Install trackstack {trackstack.__version__} or newer" in done.stderr
    assert _kept(server) == before


@pytest.fixture
def another(server: Server) -> Iterator[str]:
    """The name of an environment that a test may try to make; it is gone afterwards."""
    yield "another"
    kill_all_in(server.folder("another"))
    shutil.rmtree(server.folder("another"), ignore_errors=True)


@pytest.fixture
def secrets(server: Server, ada: str) -> dict[str, str]:
    """Every secret of the server by name."""
    own = (server.data / "secrets.env").read_text().splitlines()
    return {
        f"{OWNER}'s password": server.owner_password(),
        f"{ADA}'s password": ada,
        **dict(line.split("=", 1) for line in own),
    }


@pytest.fixture
def other_kit(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the kit as another version: with other defaults and other templates."""

    def make(version: str) -> Path:
        package = tmp_path / "src" / "trackstack"
        shutil.copytree(Path(trackstack.__file__).parent, package)
        shutil.copytree(bundle.templates(), tmp_path / "templates")
        _edit(package / "__init__.py", trackstack.__version__, version)
        _edit(package / "lock.py", 'DEFAULT_MLFLOW = "', 'DEFAULT_MLFLOW = "9')
        _edit(package / "spec" / "local.py", "8080", "8999")
        _edit(package / "spec" / "deciding.py", "max(1, min(4,", "max(9, min(9,")
        _edit(tmp_path / "templates" / "nginx" / "nginx.conf.j2", "daemon off;", "daemon  off;")
        return package.parent

    return make


def _edit(file: Path, before: str, after: str) -> None:
    text = file.read_text()
    assert before in text, f"{file.name} no longer holds {before!r}"
    file.write_text(text.replace(before, after))


def _kept(server: Server) -> dict[str, str | None]:
    """All that says what was decided, and what serves."""
    return all_files(server.folder(), "machine/", "control/observed", "receipts", "changing.lock")


def _mode(entry: Path) -> int:
    """The mode of what is there; none of what is gone meanwhile."""
    try:
        return entry.lstat().st_mode
    except FileNotFoundError:
        return 0


def _written_by(process: psutil.Process) -> list[str]:
    try:
        return [file.path for file in process.open_files() if file.mode not in ("r", "")]
    except psutil.NoSuchProcess:
        return []


def _connections_of(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections(kind="inet")
    except psutil.NoSuchProcess:
        return []


def _without_nginx(server: Server, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the command where every nginx is hidden: the kit also looks beyond PATH."""
    folders = [*os.environ["PATH"].split(":"), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    programs = sorted(
        {str(found.resolve()) for each in folders if (found := Path(each, "nginx")).is_file()}
    )
    hide = 'while [ "$1" != -- ]; do mount --bind /dev/null "$1"; shift; done; shift; exec "$@"'
    namespace = [
        "unshare",
        "--mount",
        *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]),
    ]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("hiding nginx wants a mount namespace, which this computer does not allow")
    return subprocess.run(
        [*namespace, "sh", "-c", hide, "sh", *programs, "--", COMMAND, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=server.environment,
        check=False,
    )
