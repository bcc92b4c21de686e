"""What the users commands change holds on the very next request, and touches nobody else."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from servers import ADA, OWNER, Server

from kits import eventually

ROTATIONS = 20


@pytest.mark.parametrize("name", ["grace", "grace.h", "grace@example.com", "g+h-1_2"])
def test_a_name_as_people_use_them_gets_in(server: Server, name: str) -> None:
    assert server.status_for(name, server.let_in(name)) == 200


def test_who_is_removed_is_shut_out_on_the_next_request(server: Server) -> None:
    password = server.let_in("leaver")
    server.run("users", "remove", "leaver")
    assert server.status_for("leaver", password) == 401


def test_who_was_removed_and_is_added_again_needs_the_new_password(server: Server) -> None:
    before = server.let_in("returner")
    server.run("users", "remove", "returner")
    after = server.let_in("returner")
    assert [server.status_for("returner", each) for each in (before, after)] == [401, 200]


def test_several_are_added_by_one_command_or_none(server: Server) -> None:
    server.let_in("first.of.two")
    refused = server.run(
        *("users", "add", "second.of.two", "first.of.two", "--show-passwords"), ok=False
    )
    assert (refused.returncode, "second.of.two" in _names(server)) == (2, False)


def test_the_list_names_everybody_with_their_expiry(server: Server, ada: str) -> None:
    assert server.status_for(ADA, ada) == 200
    server.let_in("guest", "--expires", "2099-01-31")
    listed = server.json("users", "list")
    assert isinstance(listed, list)
    expiries = {each["user"]: each["expires"] for each in listed}
    wanted = {OWNER: None, ADA: None, "guest": "2099-01-31T00:00:00Z"}
    assert {name: expiries[name] for name in wanted} == wanted


def test_the_list_for_people_shows_no_hash_and_no_password(server: Server, ada: str) -> None:
    shown = server.run("users", "list").stdout
    assert ADA in shown
    assert ada not in shown
    assert "SSHA" not in shown


def test_an_expired_user_is_shut_out_by_itself(server: Server) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=6)
    password = server.let_in("shortly", "--expires", f"{until:%Y-%m-%dT%H:%M:%S}")
    while server.status_for("shortly", password) == 200:
        assert datetime.now(UTC) < until + timedelta(seconds=5), "an expired user still gets in"
        time.sleep(0.1)
    assert datetime.now(UTC) >= until, "a user was shut out before the time had come"


def test_rotating_the_owner_leaves_env_with_the_new_password(server: Server) -> None:
    before = server.owner_password()
    server.run("users", "rotate", OWNER, "--show-passwords")
    after = server.owner_password()
    assert [server.status_for(OWNER, each) for each in (before, after)] == [401, 200]


def test_rotations_under_load_kill_the_old_password_at_once_and_fail_nobody_else(
    server: Server, ada: str
) -> None:
    password = server.let_in("spinner")
    seen = []
    with _bystander(server, ada) as answers:
        for _ in range(ROTATIONS):
            made = server.json("users", "rotate", "spinner", "--show-passwords")
            assert isinstance(made, list)
            old, password = password, str(made[0]["password"])
            seen.append((server.status_for("spinner", old), server.status_for("spinner", password)))
    assert seen == [(401, 200)] * ROTATIONS
    assert set(answers) == {200}, f"{len(answers)} requests of another, some of them failed"
    assert len(answers) > ROTATIONS, "the other asked too little to have noticed anything"


def test_a_change_is_reported_done_only_once_it_holds(server: Server) -> None:
    users = server.folder() / "control" / "desired" / "users.json"
    before = users.read_bytes()
    agent = server.agent()
    agent.suspend()
    try:
        command = server.start("users", "add", "waiting", "--show-passwords")
        written = eventually(lambda: users.read_bytes() != before)
        # A command that does not wait ends within a fraction of this.
        done_too_early = eventually(lambda: command.poll() is not None, 1.5)
    finally:
        agent.resume()
    command.communicate(timeout=60)
    assert (written, done_too_early, command.returncode) == (True, False, 0)


@contextmanager
def _bystander(server: Server, password: str) -> Iterator[list[object]]:
    """Somebody who works all the while; what each request was answered with."""
    answers: list[object] = []
    enough = threading.Event()

    def work() -> None:
        with server.api(ADA, password) as api:
            while not enough.is_set():
                try:
                    answers.append(
                        api.post("experiments/search", json={"max_results": 1}).status_code
                    )
                except httpx.HTTPError as error:
                    answers.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield answers
    finally:
        enough.set()
        thread.join()


def _names(server: Server) -> set[str]:
    listed = server.json("users", "list")
    assert isinstance(listed, list)
    return {each["user"] for each in listed}
