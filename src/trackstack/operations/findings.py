"""What a look at a computer, an environment or a server found."""

from typing import Literal

from trackstack.desired import Part
from trackstack.errors import MissingError, NotProvenError, TrackstackError

Level = Literal["ok", "untried", "warning", "bad"]

COMPUTER = "this computer"


class Finding(Part):
    """One thing that was looked at.

    Attributes:
        about: what, in a word that stays the same from version to version.
        level: how bad it is; 'untried' when it could not be seen from here.
        sentence: what was found, one plain sentence.
        remedy: what to do, or None when there is nothing to do.
        where: COMPUTER, an environment's name, or a server's address.
    """

    about: str
    level: Level
    sentence: str
    remedy: str | None = None
    where: str = COMPUTER


class Diagnosis(Part):
    """All that was found, in the order it was looked at.

    Attributes:
        requests: how many a server was asked; None when no server was looked at from outside.
    """

    findings: tuple[Finding, ...]
    requests: int | None = None

    @property
    def exit_code(self) -> int:
        """0 when nothing is bad; what is missing here comes before what is unwell there."""
        bad = {finding.where for finding in self.findings if finding.level == "bad"}
        if COMPUTER in bad:
            return MissingError.exit_code
        return NotProvenError.exit_code if bad else 0


def ok(about: str, sentence: str) -> Finding:
    """Nothing is wrong with it."""
    return Finding(about=about, level="ok", sentence=sentence)


def untried(about: str, sentence: str, remedy: str | None = None) -> Finding:
    """It cannot be seen from here."""
    return Finding(about=about, level="untried", sentence=sentence, remedy=remedy)


def warning(about: str, sentence: str, remedy: str) -> Finding:
    """It works, and should be mended."""
    return Finding(about=about, level="warning", sentence=sentence, remedy=remedy)


def bad(about: str, sentence: str, remedy: str | None) -> Finding:
    """It does not work, or harms."""
    return Finding(about=about, level="bad", sentence=sentence, remedy=remedy)


def raised(error: TrackstackError, about: str) -> Finding:
    """It ended in an error, which says what is wrong and what to do."""
    return bad(about, error.sentence, error.hint)


def unless(problem: TrackstackError | None, about: str, well: str) -> Finding:
    """Bad when there is a problem, else well."""
    return raised(problem, about) if problem else ok(about, well)
