"""Audit entries of desired documents whose writer was killed before it left one."""

from trackstack.agent.round import Round
from trackstack.control.base import audit
from trackstack.desired import DesiredDocument, audit_key


def ensure_audited(this: Round) -> None:
    """Leave an entry for each document of this round, unless it is there."""
    for document in (this.users, this.release, this.cleanup, this.agent, this.models):
        if isinstance(document, DesiredDocument) and audit_key(document) not in this.audited:
            audit(this.store, document)
            this.audited.add(audit_key(document))
