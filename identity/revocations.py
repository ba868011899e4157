"""Tokens that no longer hold although they have not expired: by whom they are, or what they are for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from objstore.identity.records import RevocationRecord
from objstore.identity.tokens import MICROSECONDS, TokenClaims

# Services may go on with what a user has begun, so long after the user's token has expired.
EXPIRED_WINDOW_SECONDS: Final = 48 * 3600


class Revocations:
    """Revokes, and tells. A row is kept for as long as a token that it concerns could be shown."""

    def __init__(self, life_seconds: float) -> None:
        self._kept = int((life_seconds + EXPIRED_WINDOW_SECONDS) * MICROSECONDS)

    def revoke(self, session: Session, subject: str, now: int) -> None:
        """All tokens of a subject that were issued until now, in microseconds."""
        session.execute(delete(RevocationRecord).where(RevocationRecord.needed_until < now))
        session.merge(RevocationRecord(subject=subject, issued_by=now, needed_until=now + self._kept))

    @staticmethod
    def is_revoked(session: Session, claims: TokenClaims, subjects: Iterable[str]) -> bool:
        """Whether one of the subjects was revoked when the token was there, or at the same microsecond."""
        newest = select(func.max(RevocationRecord.issued_by)).where(RevocationRecord.subject.in_(set(subjects)))
        issued_by: int | None = session.execute(newest).scalar()
        return issued_by is not None and issued_by >= claims.issued


def of_token(audit_id: str) -> str:
    """One token."""
    return f"token:{audit_id}"


def of_user(user_id: str) -> str:
    """All tokens of a user."""
    return f"user:{user_id}"


def of_target(kind: str, target_id: str) -> str:
    """All tokens for a project or a domain; those for a domain's projects and of its users, too."""
    return f"{kind}:{target_id}"


def of_grant(user_id: str, kind: str, target_id: str) -> str:
    """A user's tokens for one project, domain or system."""
    return f"grant:{user_id}:{kind}:{target_id}"
