"""Audit entries of desired documents whose writer was killed before it left one."""

from trackstack.agent.round import Round
from trackstack.control.base import audit
from trackstack.desired import DesiredDocument


def ensure_audited(this: Round) -> None:
    """Leave an entry for each document of this round, unless it is there."""
    for document in (this.users, this.release, this.cleanup):
        if isinstance(document, DesiredDocument):
            audit(this.store, document)
