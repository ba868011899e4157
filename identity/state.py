"""What all handlers of the identity service have at hand."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy.orm import Session

from objstore.cloud.callers import CloudCaller
from objstore.cloud.database import SqlDatabase
from objstore.cloud.web import Call, Fault
from objstore.config.users import SCRYPT, Derivation, HashedKey
from objstore.identity.catalog import Catalog
from objstore.identity.keys import KeyFolder
from objstore.identity.revocations import Revocations
from objstore.identity.standing import TokenStanding, standing_of
from objstore.identity.tokens import MICROSECONDS, TokenClaims, TokenIssuing
from objstore.login_throttle import LoginThrottle
from objstore.passwords import DERIVED_BYTES, SALT_BYTES, SCRYPT_NUMBERS, hashed, is_right

T = TypeVar("T")

PASSWORD_LENGTH_MAX: Final = 512  # characters
CHECKED_AT_ONCE: Final = 2  # each takes a processor for 50 ms
CHECKS_WAITING_MAX: Final = 64
CHECK_TIMEOUT_SECONDS: Final = 20.0
# What somebody without a password is compared with, so that it takes as long.
DECOY: Final = HashedKey(Derivation(SCRYPT, SCRYPT_NUMBERS, DERIVED_BYTES), b"\0" * SALT_BYTES, b"\0" * DERIVED_BYTES)


class PasswordChecks:
    """Hashes and compares passwords, few at once: whoever makes up logins takes no more of the machine than that."""

    def __init__(self) -> None:
        self._running = threading.BoundedSemaphore(CHECKED_AT_ONCE)
        self._waiting = threading.BoundedSemaphore(CHECKS_WAITING_MAX)

    def is_right(self, given: str, stored: str | None) -> bool:
        """In the same time whether there is a password or not. Raises Fault 429."""
        return self._in_turn(lambda: is_right(given[: PASSWORD_LENGTH_MAX + 1], stored, [DECOY]))

    def hashed(self, password: str) -> str:
        """Raises Fault 400 for one that is empty or too long, 429."""
        if not 0 < len(password) <= PASSWORD_LENGTH_MAX:
            raise Fault(400, f"A password has from 1 to {PASSWORD_LENGTH_MAX} characters.")
        return self._in_turn(lambda: hashed(password, os.urandom(SALT_BYTES)))

    def _in_turn(self, work: Callable[[], T]) -> T:
        if not self._waiting.acquire(blocking=False):
            raise Fault(429, "Too many logins at this moment.", headers={"Retry-After": "1"})
        try:
            if not self._running.acquire(timeout=CHECK_TIMEOUT_SECONDS):
                raise Fault(429, "Too many logins at this moment.", headers={"Retry-After": "1"})
            try:
                return work()
            finally:
                self._running.release()
        finally:
            self._waiting.release()


@dataclass(frozen=True)
class IdentityState:
    """`url` is where clients reach the service; `now` gives seconds since the epoch. `blobs` encrypt credentials."""

    database: SqlDatabase
    tokens: TokenIssuing
    blobs: KeyFolder
    catalog: Catalog
    throttle: LoginThrottle
    url: str
    life_seconds: float
    seconds: Callable[[], float]
    passwords: PasswordChecks = field(default_factory=PasswordChecks)

    @property
    def revocations(self) -> Revocations:
        return Revocations(self.life_seconds)

    def now(self) -> int:
        """Microseconds since the epoch."""
        return int(self.seconds() * MICROSECONDS)

    def claims_of(self, token: str) -> TokenClaims | None:
        """What a token says that has not expired."""
        claims = self.tokens.read(token)
        return claims if claims is not None and claims.expires > self.now() else None

    def standing(self, session: Session, token: str) -> TokenStanding | None:
        """Whose a token is that holds."""
        claims = self.claims_of(token)
        return None if claims is None else standing_of(session, claims, self.now())


class OwnCallers:
    """Who calls the identity service: it asks its own records."""

    def __init__(self, state: IdentityState) -> None:
        self._state = state
        self.challenge = f'Keystone uri="{state.url}"'

    def of(self, token: str) -> CloudCaller | None:
        with self._state.database.reading() as session:
            standing = self._state.standing(session, token)
            return None if standing is None else standing.caller(token)


def need_admin(call: Call) -> None:
    """Raises Fault 403."""
    if not call.caller.is_admin:
        raise Fault(403, "You are not authorized to perform the requested action: it needs the role admin.")


def need_admin_or_service(call: Call) -> None:
    """Raises Fault 403."""
    if not call.caller.is_admin and not call.caller.is_service:
        raise Fault(403, "You are not authorized to perform the requested action: it needs the role service or admin.")


def need_user(call: Call, user_id: str) -> None:
    """Nobody but this user and administrators may go on. Raises Fault 403."""
    if call.caller.user_id != user_id and not call.caller.is_admin:
        raise Fault(403, "You are not authorized to perform the requested action: it is about another user.")


def missing(kind: str, its_id: str) -> Fault:
    return Fault(404, f"Could not find {kind}: {its_id[:64]}.")
