"""Letting people in and out, in an environment whose machine does not run."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from trackstack.control.base import change, read
from trackstack.credentials import matches
from trackstack.desired import User, Users
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.operations import users
from unit.making import HASH, deployed

HOUR = timedelta(hours=1)


def stored(environment: Environment) -> dict[str, User]:
    document, _ = read(environment.target.store, Users)
    assert document is not None
    return document.users


def generation(environment: Environment) -> int:
    document, _ = read(environment.target.store, Users)
    assert document is not None
    return document.generation


def listed(environment: Environment) -> list[str]:
    return [each.user for each in users.listed(environment)]


def test_who_is_added_gets_a_password_of_which_only_the_hash_is_stored(
    environment: Environment,
) -> None:
    made = users.add(environment, ["bob", "ada@example.com"])
    assert [login.user for login in made] == ["bob", "ada@example.com"]
    assert listed(environment) == ["ada", "ada@example.com", "bob"]
    for login in made:
        assert matches(login.password, stored(environment)[login.user].hash)
        for file in environment.folder.rglob("*"):
            assert not file.is_file() or login.password.encode() not in file.read_bytes(), file


def test_a_name_given_twice_is_added_once(environment: Environment) -> None:
    assert [login.user for login in users.add(environment, ["bob", "bob"])] == ["bob"]


def test_who_is_there_already_is_not_added_and_neither_are_the_others(
    environment: Environment,
) -> None:
    before = stored(environment)
    with pytest.raises(UsageError, match="a user 'ada' already; nobody was added") as refused:
        users.add(environment, ["bob", "ada"])
    assert "trackstack users rotate ada" in (refused.value.hint or "")
    assert stored(environment) == before


def test_a_rotation_changes_the_password_and_nothing_else(environment: Environment) -> None:
    users.add(environment, ["bob"], datetime.now(UTC) + HOUR)
    before = stored(environment)
    (login,) = users.rotate(environment, ["bob"])
    after = stored(environment)
    assert matches(login.password, after["bob"].hash)
    assert after["bob"].hash != before["bob"].hash
    assert after["bob"].rotated > before["bob"].rotated
    unchanged = {"hash": "", "rotated": before["bob"].rotated}
    assert after["bob"].model_copy(update=unchanged) == before["bob"].model_copy(update=unchanged)
    assert after["ada"] == before["ada"]


def test_the_password_this_computer_keeps_follows_a_rotation(environment: Environment) -> None:
    (login,) = users.rotate(environment, ["ada"])
    assert environment.password("ada") == login.password
    users.add(environment, ["bob"])
    users.rotate(environment, ["bob"])
    assert environment.owner() == "ada"
    assert environment.password("bob") is None


def test_who_is_removed_is_gone(environment: Environment) -> None:
    users.add(environment, ["bob", "eve"])
    users.remove(environment, ["bob", "bob"])
    assert listed(environment) == ["ada", "eve"]


def test_the_password_of_a_removed_owner_is_kept_no_longer(environment: Environment) -> None:
    assert users.own_login(environment) is not None
    users.remove(environment, ["ada"])
    assert environment.owner() is None
    assert users.own_login(environment) is None


@pytest.mark.parametrize("act", [users.rotate, users.remove])
def test_a_wrong_name_changes_nobody_and_leads_to_the_nearest(
    environment: Environment, act: object
) -> None:
    users.add(environment, ["grace"])
    before, password = stored(environment), environment.password("ada")
    with pytest.raises(UsageError, match="no user 'garce'; nothing was changed") as refused:
        act(environment, ["ada", "garce"])  # type: ignore[operator]
    assert refused.value.hint == "Did you mean 'grace'?"
    assert stored(environment) == before
    assert environment.password("ada") == password


def test_a_name_near_to_none_leads_to_the_list(environment: Environment) -> None:
    with pytest.raises(UsageError) as refused:
        users.remove(environment, ["xyz"])
    assert "trackstack users list" in (refused.value.hint or "")


def test_the_list_holds_times_but_no_hash_and_not_the_kits_own_users(
    environment: Environment,
) -> None:
    until = datetime.now(UTC) + HOUR
    users.add(environment, ["bob"], until)
    with users.temporary(environment, "verify"):
        found = {each.user: each for each in users.listed(environment)}
    assert set(found) == {"ada", "bob"}
    assert found["bob"].expires == until
    assert found["ada"].expires is None
    assert "SSHA" not in json.dumps([each.model_dump(mode="json") for each in found.values()])


def test_a_temporary_user_is_there_inside_and_gone_after_an_error_too(
    environment: Environment,
) -> None:
    def use() -> None:
        with users.temporary(environment, "verify") as login:
            inside = stored(environment)[login.user]
            assert login.user.startswith("trackstack.verify.")
            assert matches(login.password, inside.hash)
            assert inside.expires is not None
            assert inside.expires <= datetime.now(UTC) + HOUR
            raise UsageError("from inside")

    with pytest.raises(UsageError, match="from inside"):
        use()
    assert set(stored(environment)) == {"ada"}


def test_two_temporary_users_at_once_do_not_disturb_each_other(environment: Environment) -> None:
    with users.temporary(environment, "verify") as first:
        with users.temporary(environment, "verify") as second:
            assert {first.user, second.user} < set(stored(environment))
        assert first.user in stored(environment)
        assert second.user not in stored(environment)


def put(environment: Environment, **more: User) -> None:
    change(
        environment.target.store,
        Users,
        "by hand",
        lambda before: {"users": {**(before.users if before else {}), **more}},
    )


def one(expires: datetime) -> User:
    long_ago = datetime.now(UTC) - 100 * HOUR
    return User(hash=HASH, created=long_ago, rotated=long_ago, expires=expires)


def test_the_next_change_sweeps_what_a_killed_command_left_once_its_time_is_over(
    environment: Environment,
) -> None:
    now = datetime.now(UTC)
    put(
        environment,
        **{
            "trackstack.verify.dead": one(now - HOUR),
            "trackstack.verify.alive": one(now + HOUR),
            "expired": one(now - HOUR),
        },
    )
    users.add(environment, ["bob"])
    # A person whose time is over stays on the list, where somebody can see why.
    assert set(stored(environment)) == {"ada", "bob", "expired", "trackstack.verify.alive"}


def test_two_who_add_at_once_both_succeed(environment: Environment) -> None:
    start = threading.Barrier(2)
    failures: list[Exception] = []

    def add(prefix: str) -> None:
        start.wait()
        try:
            for at in range(8):
                users.add(Environment("local"), [f"{prefix}{at}"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=add, args=(prefix,)) for prefix in "bc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    expected = {f"{prefix}{at}" for prefix in "bc" for at in range(8)}
    assert set(stored(environment)) == {"ada", *expected}


def test_of_two_who_add_the_same_name_at_once_one_is_refused(environment: Environment) -> None:
    store = environment.target.store
    put_once, raced = store.put, []

    def put_after_the_other(key: str, data: bytes, expect: str | None) -> str:
        if key == Users.KEY and not raced:
            raced.append(users.add(Environment("local"), ["bob"]))
        return put_once(key, data, expect)

    store.put = put_after_the_other  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="a user 'bob' already"):
        users.add(environment, ["bob"])
    ((winner,),) = raced
    assert matches(winner.password, stored(environment)["bob"].hash)


def test_a_first_deploy_keeps_the_first_users_password_and_no_others() -> None:
    made = deployed("team", "grace", "bob")
    assert made.owner() == "grace"
    assert users.own_login(made) is not None
    assert made.password("bob") is None


def test_a_deploy_adds_only_who_is_missing_and_writes_nothing_when_nobody_is(
    environment: Environment,
) -> None:
    before, at = stored(environment), generation(environment)
    assert users.add_missing(environment, ["ada"]) == []
    assert generation(environment) == at
    (login,) = users.add_missing(environment, ["ada", "bob"])
    assert login.user == "bob"
    assert stored(environment)["ada"] == before["ada"]


def test_even_nobody_is_written_once_so_that_the_machine_knows() -> None:
    fresh = Environment("fresh")
    assert users.add_missing(fresh, []) == []
    assert stored(fresh) == {}


GOOD = [("right", True), ("rotated elsewhere", False), ("expired", False), ("removed", False)]


@pytest.mark.parametrize(("case", "good"), GOOD)
def test_the_own_login_is_one_that_still_opens_the_door(
    environment: Environment, case: str, good: bool
) -> None:
    ada = stored(environment)["ada"]
    elsewhere = {
        "rotated elsewhere": {"ada": ada.model_copy(update={"hash": HASH})},
        "expired": {"ada": ada.model_copy(update={"expires": datetime.now(UTC) - HOUR})},
        "removed": {},
        "right": {"ada": ada},
    }[case]
    change(environment.target.store, Users, "elsewhere", lambda _: {"users": elsewhere})
    assert (users.own_login(environment) is not None) == good
