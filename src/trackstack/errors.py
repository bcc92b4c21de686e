"""What can go wrong, each raised once with a sentence and the way out.

Only the command line renders these; nothing between the raise and the rendering catches one
to log it.
"""


class TrackstackError(Exception):
    """The operation failed.

    Attributes:
        sentence: what is wrong, one plain sentence without a secret in it.
        hint: what to do next, or None when the sentence says it.
        exit_code: the status the command line ends with.
    """

    exit_code = 1

    def __init__(self, sentence: str, hint: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint


class UsageError(TrackstackError):
    """What was asked makes no sense as asked: a wrong name, flag, key or value."""

    exit_code = 2


class NotProvenError(TrackstackError):
    """The server is there but not healthy, or a check of it did not hold."""

    exit_code = 3


class MissingError(TrackstackError):
    """Something this computer lacks: a program, a module of it, memory, disk."""

    exit_code = 4


class BusyError(TrackstackError):
    """Somebody else is changing the same thing now."""

    exit_code = 5


def printable(text: str) -> str:
    """A text that somebody else wrote, as it may be shown: no newline, nothing a terminal obeys."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
