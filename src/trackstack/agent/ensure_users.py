"""Who may enter: one password file per user, put in place by a rename, so nothing is reloaded."""

import shutil
from pathlib import Path

from trackstack.agent import folders
from trackstack.agent.round import Round


def ensure_users(this: Round) -> None:
    """Let in exactly the users of the document whose time has not run out."""
    users = this.wanted_users()
    wanted = (
        {name: user for name, user in users.users.items() if user.may_enter(this.now)}
        if users
        else {}
    )
    for name, user in wanted.items():
        # The previous one first: at no moment does neither of them open the door.
        if user.previous is not None and this.now < user.previous.until:
            let_in(name, f"{name}:{user.previous.hash}\n", "previous")
        let_in(name, f"{name}:{user.hash}\n")
        if user.previous is None or this.now >= user.previous.until:
            (folders.USERS / name / "previous").unlink(missing_ok=True)
    for folder in folders.USERS.iterdir():
        if folder.name not in wanted:
            shut_out(folder.name)


def let_in(name: str, line: str, which: str = "current") -> None:
    """Put one user's password line in place; a reader sees the old line or the new one.

    Not flushed to the disk: a power cut may lose it, and the next round writes it again from
    the document.
    """
    file = folders.USERS / name / which
    if _text(file) == line:
        return
    file.parent.mkdir(exist_ok=True)
    new = file.with_name("new")
    new.write_text(line)
    new.replace(file)


def shut_out(name: str) -> None:
    """Take a user's password away, at once."""
    folder = folders.USERS / name
    if folder.is_dir():  # a file manager may have left a file of its own
        for which in ("current", "previous"):
            (folder / which).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except FileNotFoundError:
        return None
