"""The users of the file, their logins, and the identities that their tokens prove."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from objstore.config.users import User
from objstore.proxy.auth import passwords
from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.rights import RESELLER_ADMIN
from objstore.proxy.auth.tokens import TokenIssuer
from objstore.runtime import Runtime

# Tokens that were read before: the next request with one costs a look into a dictionary.
KNOWN_TOKENS_MAX: Final = 10_000


class KnownToken(Struct, frozen=True):
    """A token that was good, until it expires (seconds since the epoch)."""

    identity: Identity
    expires: int


class UserTable:
    """Who there is; one for each reading of the file, so what is cached here is of these users."""

    def __init__(self, users: Iterable[User], issuer: TokenIssuer, reseller_prefix: str, runtime: Runtime) -> None:
        self._users = {(user.account, user.name): user for user in users}
        self._issuer = issuer
        self._prefix = reseller_prefix
        self._clock = runtime.clock
        self._threads = runtime.threads
        self._known: dict[str, KnownToken] = {}
        # Checked when there is no such user, so that the time does not tell.
        self._decoy = next((user.key for user in self._users.values() if passwords.is_hashed(user.key)), "")

    def login(self, account: str, name: str, key: str) -> User | None:
        """The user, if this is the key. A hashed key is checked on a thread, since that is slow by design."""
        user = self._users.get((account, name))
        stored = self._decoy if user is None else user.key
        if passwords.is_hashed(stored):
            right = self._threads.call(passwords.is_right, key, stored)
        else:
            right = passwords.is_right(key, stored)
        return user if right else None

    def account_of(self, user: User) -> str:
        """The account's name in URLs."""
        return f"{self._prefix}_{user.account}"

    def identity_of(self, token: str) -> Identity | None:
        """Whom a token belongs to; None for one that is not good, or no longer."""
        known = self._known.get(token)
        if known is None:
            known = self._read(token)
            if known is None:
                return None
            if len(self._known) >= KNOWN_TOKENS_MAX:
                del self._known[next(iter(self._known))]
            self._known[token] = known
        if known.expires <= self._clock.now():
            self._known.pop(token, None)
            return None
        return known.identity

    def _read(self, token: str) -> KnownToken | None:
        claim = self._issuer.read(token)
        if claim is None:
            return None
        user = self._users.get((claim.account, claim.name))
        if user is None or not hmac.compare_digest(claim.fingerprint, self._issuer.fingerprint(user)):
            return None
        return KnownToken(self._identity(user), claim.expires)

    def _identity(self, user: User) -> Identity:
        full_name = f"{user.account}:{user.name}"
        groups = frozenset({user.account, full_name, *user.groups})
        return Identity(full_name, self.account_of(user), groups, RESELLER_ADMIN in user.groups)
