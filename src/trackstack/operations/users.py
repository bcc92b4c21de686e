"""Lets people in and out."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from secrets import token_hex

from trackstack import credentials, htpasswd, names
from trackstack.agent.last_seen import last_seen
from trackstack.control.base import change, read
from trackstack.desired import Applied, Part, Previous, Seen, User, Users
from trackstack.environment import Environment
from trackstack.errors import UsageError
from trackstack.htpasswd import Entry
from trackstack.operations.waiting import wait_until_applied

_OWN_LIFETIME = timedelta(minutes=15)
_IMPORTED_LIFETIME = timedelta(days=30)


class Login(Part):
    """A name and its password, known only at the moment it is made."""

    user: str
    password: str


class ListedUser(Part):
    """One who may enter.

    Attributes:
        old_until: how long the password before the last rotation still works, or None.
        last_seen: when nginx last let this user in, as far back as its log goes, or None.
        seen_is_known: whether that log was read; a cloud's machine tells of it every few minutes.
    """

    user: str
    created: datetime
    rotated: datetime
    expires: datetime | None
    old_until: datetime | None
    last_seen: datetime | None
    seen_is_known: bool = True


def add(
    environment: Environment, wanted: Iterable[str], expires: datetime | None = None
) -> list[Login]:
    """Let people in, each with a fresh password.

    Raises:
        UsageError: one is there already; then nothing changed.
    """
    made = _logins(wanted)

    def apply(users: dict[str, User]) -> dict[str, User]:
        _must_be_new((login.user for login in made), users)
        return users | {login.user: _new_user(login, expires) for login in made}

    _change(environment, f"add {_listed(made)}", apply)
    return made


def rotate(
    environment: Environment, wanted: Iterable[str], keep_old: timedelta | None = None
) -> list[Login]:
    """Give people new passwords.

    Args:
        environment: whose users.
        wanted: their names.
        keep_old: how long the present password works beside the new one; without it, the old
            one is dead as soon as this returns.

    Raises:
        UsageError: one does not exist; then nothing changed.
    """
    made = _logins(wanted)
    now = datetime.now(UTC)

    def rotated(user: User, password: str) -> User:
        previous = Previous(hash=user.hash, until=now + keep_old) if keep_old else None
        return user.model_copy(
            update={
                "hash": credentials.hash_password(password),
                "rotated": now,
                "previous": previous,
            }
        )

    def apply(users: dict[str, User]) -> dict[str, User]:
        _must_exist((login.user for login in made), users)
        return users | {login.user: rotated(users[login.user], login.password) for login in made}

    # Kept before it holds: a killed command must not leave its owner without a password.
    owner = environment.owner()
    mine = next((login for login in made if login.user == owner), None)
    _must_exist((login.user for login in made), _current(environment))
    if mine is not None:
        environment.keep_password(mine.user, mine.password)
    for login in made:
        if login.user in environment.target.clients:
            environment.target.keep_client(login.user, login.password)
    _change(environment, f"rotate {_listed(made)}", apply)
    return made


def remove(environment: Environment, unwanted: Iterable[str]) -> None:
    """Shut people out.

    Raises:
        UsageError: one does not exist; then nothing changed.
    """
    leaving = list(dict.fromkeys(unwanted))

    def apply(users: dict[str, User]) -> dict[str, User]:
        _must_exist(leaving, users)
        return {name: user for name, user in users.items() if name not in leaving}

    _change(environment, f"remove {', '.join(leaving)}", apply)
    if environment.owner() in leaving:
        environment.forget_password()


def take_over(environment: Environment, text: str, expires: datetime | None = None) -> list[Entry]:
    """Let in the users of an existing password file, with the passwords they have.

    Args:
        environment: whose users they become.
        text: the content of an htpasswd file.
        expires: when they are shut out again; after 30 days when None, since nobody knows who
            else has seen these hashes.

    Raises:
        UsageError: a line is wrong, or one is there already; then nothing changed.
    """
    entries = htpasswd.parse(text)
    now = datetime.now(UTC)
    until = expires or now + _IMPORTED_LIFETIME

    def apply(users: dict[str, User]) -> dict[str, User]:
        _must_be_new((entry.user for entry in entries), users)
        return users | {
            entry.user: User(hash=entry.hash, created=now, rotated=now, expires=until)
            for entry in entries
        }

    _change(environment, f"import {', '.join(entry.user for entry in entries)}", apply)
    return entries


def own_login(environment: Environment, users: Mapping[str, User] | None = None) -> Login | None:
    """The login this computer keeps, when it still opens the door.

    Args:
        environment: whose.
        users: who may enter, when that was read already.
    """
    owner = environment.owner()
    known = _current(environment) if users is None else users
    user = known.get(owner) if owner else None
    password = environment.password(owner) if owner else None
    if owner is None or user is None or password is None:
        return None
    good = user.may_enter(datetime.now(UTC)) and credentials.matches(password, user.hash)
    return Login(user=owner, password=password) if good else None


def listed(environment: Environment) -> list[ListedUser]:
    """Everybody who may enter, by name; the kit's own short-lived users are left out."""
    now = datetime.now(UTC)
    seen = _seen(environment)
    return [
        ListedUser(
            user=name,
            created=user.created,
            rotated=user.rotated,
            expires=user.expires,
            old_until=user.previous.until if user.previous and user.previous.until > now else None,
            last_seen=seen.get(name) if seen is not None else None,
            seen_is_known=seen is not None,
        )
        for name, user in people(environment).items()
    ]


def people(environment: Environment) -> dict[str, User]:
    """Everybody who may enter, by name; the kit's own short-lived users are left out."""
    current = sorted(_current(environment).items())
    return {name: user for name, user in current if not name.startswith(names.OWN_PREFIX)}


def _seen(environment: Environment) -> dict[str, datetime] | None:
    requests = environment.target.requests()
    if requests is not None:
        return last_seen(requests)
    told, _ = read(environment.target.store, Seen)
    return told.users if told else None


def must_exist(environment: Environment, user: str) -> User:
    """The user of that name.

    Raises:
        UsageError: there is none; the nearest name is suggested.
    """
    users = _current(environment)
    _must_exist([user], users)
    return users[user]


@contextmanager
def temporary(environment: Environment, purpose: str) -> Iterator[Login]:
    """A login of the kit's own, gone afterwards, or by itself after 15 minutes.

    Args:
        environment: a running one.
        purpose: the first part of its name, such as 'verify'.
    """
    name = f"{names.OWN_PREFIX}{purpose}.{token_hex(4)}"
    login = Login(user=name, password=credentials.new_password())
    expires = datetime.now(UTC) + _OWN_LIFETIME
    _change(environment, f"add {name}", lambda users: users | {name: _new_user(login, expires)})
    try:
        yield login
    finally:
        _change(
            environment,
            f"remove {name}",
            lambda users: {other: user for other, user in users.items() if other != name},
        )


def add_missing(environment: Environment, wanted: Iterable[str]) -> list[Login]:
    """At a deploy: let in those who are not in yet, before the machine runs."""
    missing = [name for name in wanted if name not in _current(environment)]
    made = _logins(missing)
    if environment.owner() is None and made:
        environment.keep_password(made[0].user, made[0].password)
    if made or read(environment.target.store, Users)[0] is None:
        _write(
            environment,
            f"add {_listed(made)}",
            lambda users: users | {login.user: _new_user(login, None) for login in made},
        )
    return made


def let_clients_in(environment: Environment) -> None:
    """At a deploy: have each client of the target's own be a user, with a password it knows."""
    target = environment.target
    for name in target.clients:
        user, password = _current(environment).get(name), target.client_password(name)
        if user and password and credentials.matches(password, user.hash):
            continue
        login = Login(user=name, password=credentials.new_password())
        # Kept before it holds, as an owner's.
        target.keep_client(login.user, login.password)
        _write(environment, f"add {name}", _with(login))


def _change(
    environment: Environment, what: str, apply: Callable[[dict[str, User]], dict[str, User]]
) -> None:
    written = _write(environment, what, apply)
    if environment.target.running():
        wait_until_applied(environment, Applied(users=written.generation))


def _write(
    environment: Environment, what: str, apply: Callable[[dict[str, User]], dict[str, User]]
) -> Users:
    def next_users(before: Users | None) -> dict[str, object]:
        now = datetime.now(UTC)
        kept = {
            name: user
            for name, user in (before.users.items() if before else ())
            if user.may_enter(now) or not name.startswith(names.OWN_PREFIX)
        }
        return {"users": apply(kept)}

    return change(environment.target.store, Users, what, next_users)


def _current(environment: Environment) -> dict[str, User]:
    users, _ = read(environment.target.store, Users)
    return users.users if users else {}


def _with(login: Login) -> Callable[[dict[str, User]], dict[str, User]]:
    return lambda users: users | {login.user: _new_user(login, None)}


def _logins(wanted: Iterable[str]) -> list[Login]:
    unique = dict.fromkeys(wanted)
    return [Login(user=name, password=credentials.new_password()) for name in unique]


def _new_user(login: Login, expires: datetime | None) -> User:
    now = datetime.now(UTC)
    hashed = credentials.hash_password(login.password)
    return User(hash=hashed, created=now, rotated=now, expires=expires)


def _must_be_new(wanted: Iterable[str], users: dict[str, User]) -> None:
    for name in wanted:
        if name in users:
            raise UsageError(
                f"There is a user {name!r} already; nobody was added.",
                f"For a new password: `trackstack users rotate {name}`.",
            )


def _must_exist(wanted: Iterable[str], users: dict[str, User]) -> None:
    for name in wanted:
        if name not in users:
            near = names.nearest(name, users)
            raise UsageError(
                f"There is no user {name!r}; nothing was changed.",
                f"Did you mean {near!r}?"
                if near
                else "`trackstack users list` shows who there is.",
            )


def _listed(logins: list[Login]) -> str:
    return ", ".join(login.user for login in logins) or "nobody"
