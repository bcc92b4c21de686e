"""Tells in the control store when users were last let in: the log stays on the machine."""

from contextlib import suppress
from datetime import timedelta

from trackstack.agent.round import Round
from trackstack.control.base import ConflictError
from trackstack.control.directory import DirectoryStore
from trackstack.desired import Seen, Users

_EVERY = timedelta(minutes=5)
"""How often, while people are at work: each time costs a write."""


def tell_last_seen(this: Round) -> None:
    """Tell when each of the users was last let in, when there is news and it is time for it."""
    if isinstance(this.store, DirectoryStore) or not isinstance(this.users, Users):
        return  # on one computer, whoever wants to know reads the log itself
    seen = this.seen
    seen.look()
    known = {user: at for user, at in seen.users.items() if user in this.users.users}
    too_soon = timedelta() <= this.now - seen.told_at < _EVERY and known.keys() <= seen.told.keys()
    if known == seen.told or too_soon:
        return  # a user's first time is told without delay
    news = Seen(users=known).to_bytes()
    stored = this.store.get(Seen.KEY)
    if stored is None or stored.data != news:
        with suppress(ConflictError):  # another machine's last words: the next time
            this.store.put(Seen.KEY, news, expect=stored.tag if stored else None)
    seen.told, seen.told_at = known, this.now
