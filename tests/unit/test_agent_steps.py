"""The agent's steps that need no server: each looks first, and is safe to repeat after a kill."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from trackstack import bundle
from trackstack.agent import ensure_cleaned as ensure_cleaned_module
from trackstack.agent import folders
from trackstack.agent.ensure_cleaned import cleaned_generation, ensure_cleaned
from trackstack.agent.ensure_nginx import link
from trackstack.agent.ensure_release import (
    ensure_files,
    ensure_folders,
    ensure_packages,
    ensure_retired,
    ensure_secrets,
    place_service,
)
from trackstack.agent.ensure_stores import settings
from trackstack.agent.ensure_users import ensure_users, let_in, shut_out
from trackstack.agent.machine import FAILED, FINISHED, StepError, ask, run, tail, wait_for
from trackstack.desired import Release, User
from trackstack.errors import TrackstackError
from trackstack.lock import versions
from unit.making import (
    HASH,
    NOON,
    FakeMachine,
    a_round,
    cleanup,
    plan,
    release,
    user,
    users_document,
)

pytestmark = pytest.mark.usefixtures("machine_folder")
SECOND = timedelta(seconds=1)


def entries() -> dict[str, str]:
    """Who may enter, as nginx would read it."""
    return {file.parent.name: file.read_text() for file in folders.USERS.glob("*/current")}


def test_exactly_the_users_of_the_document_are_let_in() -> None:
    ensure_users(a_round(users=users_document(ada=user(), bob=user())))
    assert entries() == {"ada": f"ada:{HASH}\n", "bob": f"bob:{HASH}\n"}
    ensure_users(a_round(users=users_document(bob=user(), eve=user())))
    assert entries() == {"bob": f"bob:{HASH}\n", "eve": f"eve:{HASH}\n"}
    assert sorted(folder.name for folder in folders.USERS.iterdir()) == ["bob", "eve"]


def test_names_as_people_use_them_are_let_in() -> None:
    people: dict[str, User] = {"ada.l": user(), "ada@example.com": user(), "a+b": user()}
    ensure_users(a_round(users=users_document(**people)))
    assert set(entries()) == set(people)


def test_without_a_document_nobody_is_let_in() -> None:
    ensure_users(a_round(users=users_document(ada=user())))
    ensure_users(a_round(users=None))
    assert entries() == {}


EXPIRIES = [(None, True), (NOON + SECOND, True), (NOON, False), (NOON - SECOND, False)]


@pytest.mark.parametrize(("expires", "enters"), EXPIRIES)
def test_who_has_an_expiry_is_let_in_until_then(expires: object, enters: bool) -> None:
    ada = user().model_copy(update={"expires": expires})
    ensure_users(a_round(users=users_document(ada=ada)))
    assert ("ada" in entries()) == enters


def test_whose_time_runs_out_between_two_rounds_is_shut_out() -> None:
    people = users_document(ada=user(expires=NOON + SECOND))
    ensure_users(a_round(users=people))
    assert "ada" in entries()
    ensure_users(a_round(users=people, now=NOON + SECOND))
    assert entries() == {}


def test_a_round_that_changes_nothing_touches_no_file() -> None:
    people = users_document(ada=user())
    ensure_users(a_round(users=people))
    before = (folders.USERS / "ada" / "current").stat()
    ensure_users(a_round(users=people))
    after = (folders.USERS / "ada" / "current").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_rotation_is_one_rename_so_that_a_reader_sees_the_old_line_or_the_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    let_in("ada", "ada:old\n")
    current = folders.USERS / "ada" / "current"
    seen = []
    replace = os.replace

    def looking(source: object, target: object) -> None:
        seen.append((current.read_text(), Path(str(source)).read_text()))
        replace(source, target)  # type: ignore[type-var]
        seen.append((current.read_text(), ""))

    monkeypatch.setattr(os, "replace", looking)
    let_in("ada", "ada:new\n")
    assert seen == [("ada:old\n", "ada:new\n"), ("ada:new\n", "")]


def test_a_rotation_killed_before_its_rename_is_made_by_the_next_round() -> None:
    let_in("ada", "ada:old\n")
    (folders.USERS / "ada" / "new").write_text("ada:ha")
    let_in("ada", "ada:new\n")
    assert entries() == {"ada": "ada:new\n"}


def test_who_is_shut_out_twice_is_shut_out() -> None:
    let_in("ada", "ada:x\n")
    shut_out("ada")
    shut_out("ada")
    assert list(folders.USERS.iterdir()) == []


def test_a_file_that_a_file_manager_left_keeps_nobody_in_and_nobody_out() -> None:
    (folders.USERS / ".DS_Store").write_text("x")
    let_in("bob", "bob:x\n")
    ensure_users(a_round(users=users_document(ada=user())))
    assert set(entries()) == {"ada"}


def test_a_damaged_document_shuts_nobody_out() -> None:
    ensure_users(a_round(users=users_document(ada=user())))
    with pytest.raises(StepError, match="damaged"):
        ensure_users(a_round(users=TrackstackError("It is damaged.")))
    assert set(entries()) == {"ada"}


def test_every_folder_is_for_its_owner_only() -> None:
    ensure_folders(a_round())
    for folder in folders.ALL:
        assert folder.stat().st_mode & 0o077 == 0, folder


def files_of(made: Release) -> dict[str, str]:
    folder = folders.RELEASES / made.id
    return {
        file.relative_to(folder).as_posix(): file.read_text()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_files_of_a_release_lie_in_a_folder_of_its_id() -> None:
    made = release()
    ensure_files(a_round(release=made))
    assert files_of(made) == {file.path: file.content for file in made.files}
    assert [folder.name for folder in folders.RELEASES.iterdir()] == [made.id]


def test_a_release_that_is_there_is_not_written_again() -> None:
    made = release()
    ensure_files(a_round(release=made))
    before = (folders.RELEASES / made.id).stat().st_ino
    ensure_files(a_round(release=made))
    assert (folders.RELEASES / made.id).stat().st_ino == before


def test_a_half_written_stage_is_never_taken_for_the_release() -> None:
    made = release()
    staged = folders.RELEASES / "new" / "nginx"
    staged.mkdir(parents=True)
    (staged / "nginx.conf").write_text("half")
    (staged / "stray").write_text("of another release")
    ensure_files(a_round(release=made))
    assert files_of(made) == {file.path: file.content for file in made.files}
    assert [folder.name for folder in folders.RELEASES.iterdir()] == [made.id]


def test_a_kill_at_any_file_of_a_release_leaves_no_folder_of_its_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = release()
    replace = os.replace
    for at in range(len(made.files)):
        left = [at]

        def failing(source: object, target: object, left: list[int] = left) -> None:
            if left[0] == 0:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(source, target)  # type: ignore[type-var]

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", failing)
            with pytest.raises(KeyboardInterrupt):
                ensure_files(a_round(release=made))
        assert not (folders.RELEASES / made.id).exists()
    ensure_files(a_round(release=made))
    assert files_of(made) == {file.path: file.content for file in made.files}


STEPS_OF_A_RELEASE = [ensure_files, ensure_packages, ensure_retired, ensure_cleaned]


@pytest.mark.parametrize("step", STEPS_OF_A_RELEASE)
def test_without_a_release_a_step_of_it_does_nothing(step: object) -> None:
    before = sorted(Path().rglob("*"))
    step(a_round())  # type: ignore[operator]
    assert sorted(Path().rglob("*")) == before


def test_packages_that_are_whole_are_not_installed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "trackstack.agent.ensure_release.run", lambda *_: pytest.fail("they were installed")
    )
    folder = folders.PACKAGES / release().packages_id
    folder.mkdir()
    (folder / ".whole").touch()
    ensure_packages(a_round(release=release()))


def test_packages_of_a_killed_installation_are_installed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[list[str]] = []
    folder = folders.PACKAGES / release().packages_id

    def note(command: list[str], *_: object) -> str:
        assert not (folder / ".whole").exists()
        ran.append(command)
        return ""

    monkeypatch.setattr("trackstack.agent.ensure_release.run", note)
    folder.mkdir()
    (folder / "half").touch()
    ensure_packages(a_round(release=release()))
    assert ["--clear" in command for command in ran] == [True, False]
    assert "--require-hashes" in ran[1]
    assert (folder / ".whole").is_file()


@pytest.mark.parametrize("boot", ["this one", "an earlier one"])
def test_what_uv_kept_is_trusted_unless_the_computer_has_started_anew_since(
    monkeypatch: pytest.MonkeyPatch, boot: str
) -> None:
    ran: list[list[str]] = []

    def cut(command: list[str], *_: object) -> str:
        ran.append(command[1:])
        if "sync" in command:
            raise KeyboardInterrupt
        return ""

    monkeypatch.setattr("trackstack.agent.ensure_release.run", cut)
    with pytest.raises(KeyboardInterrupt):
        ensure_packages(a_round(release=release()))
    if boot == "an earlier one":
        monkeypatch.setattr("trackstack.agent.ensure_release.this_boot", lambda: "another")
    ran.clear()
    with pytest.raises(KeyboardInterrupt):
        ensure_packages(a_round(release=release()))
    cleaned = [command for command in ran if command[:2] == ["cache", "clean"]]
    # Without a name, it would be all that any program keeps there.
    names = [*versions(release().packages)]
    assert cleaned == ([["cache", "clean", "--quiet", *names]] if boot == "an earlier one" else [])
    assert names


def test_packages_that_cannot_be_installed_are_not_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: list[str], problem: str, *__: object) -> str:
        raise StepError(problem)

    monkeypatch.setattr("trackstack.agent.ensure_release.run", refuse)
    with pytest.raises(StepError):
        ensure_packages(a_round(release=release()))
    assert list(folders.PACKAGES.rglob(".whole")) == []


def parsed(text: str) -> list[list[str]]:
    return [line.split("=", 1) for line in text.splitlines()]


def test_mlflows_own_keys_are_made_once_and_differ_between_environments(tmp_path: Path) -> None:
    ensure_secrets(a_round())
    first = folders.SECRETS.read_text()
    ensure_secrets(a_round())
    assert folders.SECRETS.read_text() == first
    assert not folders.STORES.exists()
    assert folders.SECRETS.stat().st_mode & 0o077 == 0
    os.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    ensure_secrets(a_round())
    names, other = parsed(first), parsed(folders.SECRETS.read_text())
    assert [name for name, _ in names] == [
        "MLFLOW_CRYPTO_KEK_PASSPHRASE",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
    ]
    assert not {value for _, value in names} & {value for _, value in other}
    assert all(len(value) >= 43 for _, value in names)  # 256 bits in base64


def test_a_service_is_placed_with_all_its_files_and_no_others() -> None:
    made = release()
    place_service(made, made.mlflow)
    assert sorted(file.name for file in folders.SERVICES.iterdir()) == [
        f"{made.mlflow}.{kind}" for kind in ("conf", "env", "py", "sh")
    ]
    for file in folders.SERVICES.iterdir():
        assert file.stat().st_mode & 0o077 == 0


def test_a_service_that_the_release_does_not_hold_is_told() -> None:
    with pytest.raises(StepError, match="holds no files of the service apache"):
        place_service(release(), "apache")


def go_live(made: Release) -> None:
    ensure_files(a_round(release=made))
    for service in (made.mlflow, "nginx"):
        place_service(made, service)
    (folders.PACKAGES / made.packages_id).mkdir(exist_ok=True)
    link(folders.LIVE, folders.RELEASES / made.id)


def test_what_the_live_release_does_not_run_is_stopped_and_forgotten() -> None:
    old, new, machine = release(plan(workers=1)), release(plan(workers=2)), FakeMachine()
    go_live(old)
    go_live(new)
    (folders.PACKAGES / "older").mkdir()
    ensure_retired(a_round(release=new, machine=machine))
    assert machine.told == [f"stop {old.mlflow}"]
    left = {file.stem for file in folders.SERVICES.iterdir()}
    assert left == {"nginx", new.mlflow}
    assert [folder.name for folder in folders.PACKAGES.iterdir()] == [new.packages_id]
    ensure_retired(a_round(release=new, machine=machine))
    assert machine.told == [f"stop {old.mlflow}"]


def test_nothing_is_retired_before_the_release_is_live() -> None:
    old, new, machine = release(plan(workers=1)), release(plan(workers=2)), FakeMachine()
    go_live(old)
    ensure_files(a_round(release=new))
    place_service(new, new.mlflow)
    ensure_retired(a_round(release=new, machine=machine))
    assert machine.told == []
    assert (folders.SERVICES / f"{old.mlflow}.conf").is_file()


def test_a_service_that_will_not_stop_is_not_forgotten() -> None:
    old, new, machine = release(plan(workers=1)), release(plan(workers=2)), FakeMachine()
    go_live(old)
    go_live(new)

    def refuse(_: str) -> None:
        raise StepError("no")

    machine.on_stop = refuse
    with pytest.raises(StepError):
        ensure_retired(a_round(release=new, machine=machine))
    assert (folders.SERVICES / f"{old.mlflow}.conf").is_file()


def test_a_few_old_releases_are_kept_and_the_live_one_always() -> None:
    live = release(plan(workers=1))
    go_live(live)
    for at in range(6):
        folder = folders.RELEASES / f"{at:016}"
        folder.mkdir()
        os.utime(folder, (2_000_000_000 + at,) * 2)
    ensure_retired(a_round(release=live))
    left = {folder.name for folder in folders.RELEASES.iterdir()}
    assert left == {live.id, f"{3:016}", f"{4:016}", f"{5:016}"}


def test_of_an_mlflow_that_power_was_cut_from_no_socket_is_left() -> None:
    live = release()
    ensure_files(a_round(release=live))
    folders.LIVE.symlink_to(folders.RELEASES / live.id)
    for service in ("mlflow-01234567", live.mlflow):
        folders.mlflow_socket(service).touch()
    folders.NGINX_SOCKET.touch()
    ensure_retired(a_round(release=live))
    left = {place for place in folders.RUN.iterdir() if place.suffix == ".sock"}
    assert left == {folders.NGINX_SOCKET, folders.mlflow_socket(live.mlflow)}


def test_a_link_is_pointed_elsewhere_in_one_step_over_what_a_kill_left() -> None:
    link(Path("name"), Path("one"))
    Path("name.new").symlink_to("half")
    link(Path("name"), Path("two"))
    assert Path("name").readlink() == Path("two")
    assert not Path("name.new").is_symlink()


@pytest.mark.parametrize("planted", [None, "link", "folder", "link to a file"])
def test_mlflow_finds_no_name_free_that_its_start_script_reads(
    planted: str | None, tmp_path: Path
) -> None:
    """Where it has a user of its own, that may put files into the folder they lie in."""
    Path().chmod(folders.SHARED_MODE)
    if planted == "folder":
        folders.STORES.mkdir()
    elif planted is not None:
        (tmp_path / "mine").write_text("PGPASSWORD=mine\n")
        folders.STORES.symlink_to(tmp_path / ("mine" if planted == "link to a file" else "none"))
    ensure_secrets(a_round())
    assert folders.STORES.is_file()
    assert not folders.STORES.is_symlink()
    assert folders.STORES.read_text() == ""
    folders.STORES.write_text("PGPASSWORD=own\n")
    ensure_secrets(a_round())
    assert folders.STORES.read_text() == "PGPASSWORD=own\n"


def test_a_cleanup_is_carried_out_once() -> None:
    machine = FakeMachine()
    made = release()
    place_service(made, made.mlflow)
    for generation in (1, 1, 2, 1):
        ensure_cleaned(a_round(machine=machine, cleanup=cleanup(generation), release=made))
    assert len([told for told in machine.told if told.startswith("finish ")]) == 2
    assert cleaned_generation() == 2


def test_during_a_cleanup_the_agent_may_enter_and_afterwards_nobody_more() -> None:
    inside: list[set[str]] = []

    def fail(_: str, problem: str) -> None:
        inside.append(set(entries()))
        raise StepError(problem)

    machine = FakeMachine(on_finish=fail)
    with pytest.raises(StepError, match="mlflow gc failed"):
        ensure_cleaned(a_round(machine=machine, cleanup=cleanup(), release=release()))
    assert inside == [{"trackstack.agent"}]
    assert entries() == {}
    assert [file.name for file in folders.SERVICES.iterdir()] == []


def test_what_a_killed_agent_left_of_a_cleanup_is_ended_by_the_next_round() -> None:
    def killed(_: str, __: str) -> None:
        raise KeyboardInterrupt

    machine, made = FakeMachine(on_finish=killed), release()
    with pytest.raises(KeyboardInterrupt), patch.object(ensure_cleaned_module, "retire"):
        ensure_cleaned(a_round(machine=machine, cleanup=cleanup(), release=made))
    (left,) = {file.stem for file in folders.SERVICES.iterdir()}
    folders.LIVE.symlink_to(folders.RELEASES / made.id)
    ensure_retired(a_round(machine=machine, release=made))
    assert machine.told[-1] == f"stop {left}"
    assert list(folders.SERVICES.iterdir()) == []


def _cleaned(experiment: str) -> tuple[list[str], str]:
    """What stood in the place of MLflow was called with; and where it was asked to go."""
    made = release()
    folders.STORES.write_text("PGPASSWORD='a secret'\n")
    called = folders.PACKAGES / made.packages_id / "bin" / "python"
    called.parent.mkdir(parents=True)
    told = "$MLFLOW_TRACKING_USERNAME with $PGPASSWORD at $MLFLOW_TRACKING_URI"
    called.write_text(f'#!/bin/sh\necho "{told}" "$@"\n')
    called.chmod(0o700)
    said: list[str] = []

    def to_its_end(service: str, _: str) -> None:
        command = ["sh", f"services/{service}.sh"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (FINISHED, "")
        placed = folders.SERVICES.glob(f"{service}.*")
        said.extend([done.stdout, "".join(each.read_text() for each in placed)])

    wanted = cleanup().model_copy(update={"experiment": experiment})
    machine = FakeMachine(on_finish=to_its_end)
    ensure_cleaned(a_round(machine=machine, cleanup=wanted, release=made))
    begin = f"trackstack.agent with a secret at {made.url} "
    assert said[0].startswith(begin)
    return said[0].removeprefix(begin).split(), said[1]


def test_a_cleanup_names_all_three_lists_to_mlflow_and_no_secret() -> None:
    """`mlflow gc` takes a missing list for everything that anybody deleted."""
    command, files = _cleaned("7")
    for flag in ("--run-ids", "--logged-model-ids", "--experiment-ids"):
        assert command[command.index(flag) + 1], flag
    assert not [word for word in command if "secret" in word]
    assert "a secret" not in files, "nginx may read these"


def test_a_cleanup_that_fails_says_so_once_and_for_all() -> None:
    made, ended = release(), list[int]()
    place_service(made, made.mlflow)

    def to_its_end(service: str, _: str) -> None:
        command = ["sh", f"services/{service}.sh"]
        ended.append(subprocess.run(command, capture_output=True, check=False).returncode)

    machine = FakeMachine(on_finish=to_its_end)
    ensure_cleaned(a_round(machine=machine, cleanup=cleanup(), release=made))
    assert ended == [FAILED], "systemd would start it again"
    unit = bundle.templates() / "systemd/trackstack-mlflow@.service"
    assert f"RestartPreventExitStatus={FINISHED} {FAILED}\n" in unit.read_text()


@pytest.mark.parametrize("text", ["", "many", None])
def test_a_note_of_cleanups_that_cannot_be_read_counts_as_none(text: str | None) -> None:
    if text is not None:
        folders.CLEANED.write_text(text)
    assert cleaned_generation() == 0


def test_only_folders_without_any_file_are_removed() -> None:
    for folder in ("7/b/c", "7/d", "8"):
        (folders.ARTIFACTS / folder).mkdir(parents=True)
    (folders.ARTIFACTS / "7/d/somebodys.txt").touch()
    _cleaned("7")
    left = sorted(str(path.relative_to(folders.ARTIFACTS)) for path in folders.ARTIFACTS.rglob("*"))
    assert left == ["7", "7/d", "7/d/somebodys.txt", "8"]


def test_a_link_out_of_the_artifacts_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "empty").mkdir(parents=True)
    (folders.ARTIFACTS / "7").mkdir()
    (folders.ARTIFACTS / "7/link").symlink_to(tmp_path / "elsewhere")
    _cleaned("7")
    assert (tmp_path / "elsewhere" / "empty").is_dir()


def test_a_program_that_ends_well_gives_what_it_printed() -> None:
    assert run([sys.executable, "-c", "print('é')"], "no", {"PYTHONUTF8": "1"}) == "é\n"


def test_a_program_gets_the_agents_environment_and_what_is_set_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BELOW", "agent")
    code = "import os; print(os.environ['BELOW'], os.environ['BESIDE'])"
    assert run([sys.executable, "-c", code], "no", {"BESIDE": "step"}) == "agent step\n"


def test_a_program_that_fails_is_told_with_the_tail_of_both_its_outputs() -> None:
    code = "import sys; print('x' * 9000); print('at last', file=sys.stderr); sys.exit(7)"
    with pytest.raises(StepError) as failed:
        run([sys.executable, "-u", "-c", code], "it did not work")
    assert failed.value.problem == "it did not work"
    assert failed.value.output.endswith("x\nat last\n")
    assert len(failed.value.output) < 9000


def test_a_program_that_is_not_there_is_told_by_name() -> None:
    with pytest.raises(StepError, match=r"it did not work: there is no program no-such-program"):
        run(["no-such-program"], "it did not work")


def test_output_that_is_no_text_is_shown_as_far_as_it_is() -> None:
    code = "import sys; sys.stdout.buffer.write(b'a\\xffb')"
    assert run([sys.executable, "-c", code], "no") == "a\ufffdb"


def test_the_tail_of_a_log_is_its_end() -> None:
    log = Path("log")
    assert tail(log) == ""
    log.write_bytes(b"short\n")
    assert tail(log) == "short\n"
    log.write_bytes(b"\xc3\xa9" * 5000 + b"the end\n")
    assert tail(log).endswith("é" * 100 + "the end\n")
    assert len(tail(log)) < 5000


def whole_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and not data.startswith(b"HANGUP"):
        data += connection.recv(65536)
    length = re.search(rb"(?i)content-length: (\d+)", data)
    end = data.find(b"\r\n\r\n") + 4 + int(length[1] if length else 0)
    while len(data) < end:
        data += connection.recv(65536)
    return data


@pytest.fixture
def answering() -> Iterator[list[bytes]]:
    """A socket run/one.sock that answers each request with 'yes', or what is put in front."""
    heard: list[bytes] = []
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("run/one.sock")
    listening.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                heard.append(whole_request(connection))
                if heard[-1].startswith(b"HANGUP"):
                    return
                if b"/nonsense" not in heard[-1]:
                    connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nyes")

    thread = threading.Thread(target=serve)
    thread.start()
    yield heard
    with socket.socket(socket.AF_UNIX) as last:
        last.connect("run/one.sock")
        last.sendall(b"HANGUP")
    thread.join()
    listening.close()


def test_a_socket_is_asked_with_the_host_that_is_said(answering: list[bytes]) -> None:
    assert ask(Path("run/one.sock"), "/path", host="name:8080") == (201, "yes")
    assert answering[0].startswith(b"GET /path HTTP/1.1\r\n")
    assert b"Host: name:8080\r\n" in answering[0]


def test_a_socket_is_asked_with_a_body_by_post(answering: list[bytes]) -> None:
    assert ask(Path("run/one.sock"), "/path", body={"a": 1}) == (201, "yes")
    assert answering[0].startswith(b"POST /path ")
    assert b'{"a": 1}' in answering[0]


def test_a_socket_that_hangs_up_gives_no_answer(answering: list[bytes]) -> None:
    assert ask(Path("run/one.sock"), "/nonsense") is None
    assert answering


def test_a_socket_on_which_nobody_listens_gives_no_answer() -> None:
    assert ask(Path("run/none.sock"), "/") is None
    left = socket.socket(socket.AF_UNIX)
    left.bind("run/left.sock")
    left.close()
    assert ask(Path("run/left.sock"), "/") is None
    assert ask(Path("run") / ("x" * 200), "/") is None


def test_a_socket_that_takes_no_notice_gives_no_answer_in_time() -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind("run/mute.sock")
        mute.listen()
        assert ask(Path("run/mute.sock"), "/", timeout=0.05) is None


def test_a_socket_that_says_one_byte_at_a_time_gives_no_answer_in_time() -> None:
    def dribble() -> None:
        taker, _ = slow.accept()
        with taker, suppress(OSError):
            taker.sendall(b"HTTP/1.1 200 OK\r\n")
            while not done.wait(0.02):
                taker.sendall(b"a")

    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.bind("run/slow.sock")
        slow.listen()
        thread = threading.Thread(target=dribble)
        thread.start()
        assert ask(Path("run/slow.sock"), "/", timeout=0.2) is None
        done.set()
        thread.join()


def test_what_a_service_puts_in_the_place_of_what_the_agent_makes_gives_way() -> None:
    """As where MLflow has a user of its own, and sockets lie in a folder that it may write to."""
    Path("elsewhere").mkdir()
    for put in (
        lambda path: path.mkdir(),
        lambda path: (path.mkdir(), (path / "inner").touch()),
        lambda path: path.symlink_to("../elsewhere"),
        os.mkfifo,
    ):
        put(folders.NGINX_SOCKET)
        folders.give_way(folders.NGINX_SOCKET)
        assert list(folders.RUN.iterdir()) == []
    folders.give_way(folders.NGINX_SOCKET)
    folders.SERVED.symlink_to("../elsewhere")
    folders.make_all(folders.OF_MODELS)
    assert folders.SERVED.is_dir()
    assert not folders.SERVED.is_symlink()


def test_a_pipe_in_the_place_of_a_note_holds_nobody_up() -> None:
    os.mkfifo(folders.CLEANED)
    assert cleaned_generation() == 0


def test_of_what_mlflow_could_have_written_only_a_password_is_taken() -> None:
    made = release()
    folders.STORES.write_text(
        "PGPASSWORD=own\nPYTHONPATH=/evil\nMLFLOW_BACKEND_STORE_URI=postgresql://x\n"
    )
    assert settings(made)["PYTHONPATH"] == "/evil"
    Path().chmod(folders.SHARED_MODE)
    taken = settings(made)
    assert taken["PGPASSWORD"] == "own"
    assert "PYTHONPATH" not in taken
    assert not taken["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql")


def test_waiting_ends_when_it_holds_or_is_gone_or_time_is_up() -> None:
    looks = iter([False, False, True])
    assert wait_for(lambda: next(looks), 30)
    assert not wait_for(lambda: False, 30, gone=lambda: True)
    assert not wait_for(lambda: False, 0.06)
    assert wait_for(lambda: True, 30, gone=lambda: True)


def test_the_machines_folder_may_be_moved() -> None:
    """Nothing the steps wrote names the folder it lies in."""
    made = release()
    go_live(made)
    ensure_secrets(a_round())
    ensure_users(a_round(users=users_document(ada=user())))
    here = Path.cwd()
    for path in Path().rglob("*"):
        text = str(path.readlink()) if path.is_symlink() else ""
        text += path.read_text() if path.is_file() else ""
        assert str(here) not in text, path
    moved = here.with_name("moved")
    shutil.move(here, moved)
    os.chdir(moved)
    assert (folders.LIVE / "nginx" / "nginx.conf").is_file()
