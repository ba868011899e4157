"""The users of the file, the identities that their tokens prove, and what an identity may do."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from objstore.config.proxy import AuthConfig
from objstore.config.users import User
from objstore.passwords import KeyChecker
from objstore.paths import ResourcePath
from objstore.proxy.auth import account_acl, acl
from objstore.proxy.auth.account_acl import Right
from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.tokens import TokenIssuer
from objstore.runtime import Runtime
from objstore.system.threads import ThreadGroup

# Tokens that were read before: the next request with one costs a look into a dictionary.
KNOWN_TOKENS_MAX: Final = 10_000

ADMIN: Final = ".admin"
RESELLER_ADMIN: Final = ".reseller_admin"
RESELLER_READER: Final = ".reseller_reader"
READER: Final = ".reader"


class KnownToken(Struct, frozen=True):
    """A token that was good, until it expires (seconds since the epoch)."""

    identity: Identity
    expires: int


class UserTable:
    """The users of one reading of the file, so what is cached here is of these users."""

    def __init__(
        self,
        users: Iterable[User],
        issuer: TokenIssuer,
        reseller_prefix: str,
        runtime: Runtime,
        threads: ThreadGroup | None = None,
    ) -> None:
        """`threads` check hashed keys."""
        self._users = {(user.account, user.name): user for user in users}
        self._issuer = issuer
        self._prefix = reseller_prefix
        self._clock = runtime.clock
        self._known: dict[str, KnownToken] = {}
        self._keys = KeyChecker((user.key for user in self._users.values()), threads)

    def login(self, account: str, name: str, key: str) -> User | None:
        """The user, if this is the key. Waits if keys are hashed. Raises TooManyLogins, WaitTimeout."""
        user = self._users.get((account, name))
        return user if self._keys.is_right(key, None if user is None else user.key) else None

    def account_of(self, user: User) -> str:
        return account_of_user(user, self._prefix)

    def identity_of(self, token: str) -> Identity | None:
        """The identity that a token proves; None for one that is not good, or no longer."""
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
        return KnownToken(identity_of_user(user, self._prefix), claim.expires)


def account_of_user(user: User, reseller_prefix: str) -> str:
    """The account of the storage that a user belongs to."""
    return f"{reseller_prefix}_{user.account}"


def identity_of_user(user: User, reseller_prefix: str) -> Identity:
    """What a user's tokens and signatures prove."""
    full_name = f"{user.account}:{user.name}"
    groups = frozenset({user.account, full_name, *user.groups})
    return Identity(full_name, account_of_user(user, reseller_prefix), groups, RESELLER_ADMIN in user.groups)


class Access(Enum):
    DENIED = auto()
    GRANTED = auto()
    OWNER = auto()  # also sees and changes what only owners do


class Attempt(Struct, frozen=True):
    """A request for access to a resource.

    identity: None for anybody without a token. reading: nothing is changed. managing: the resource itself is created
    or deleted. granted: the container's access list for this, as `acl.clean` makes it. account_granted: gives the
    account's, as `account_acl.clean` makes it; called only if it can matter.
    """

    identity: Identity | None
    path: ResourcePath
    reading: bool
    managing: bool
    granted: str
    referer: str | None
    account_granted: Callable[[], str]


class Rights:
    def __init__(self, config: AuthConfig) -> None:
        self._reseller_prefix = config.reseller_prefix
        self._service_prefix = config.service_prefix
        self._service_group = config.service_group

    def access(self, attempt: Attempt) -> Access:
        """Whether the attempt may go on, and whether it is an owner's."""
        identity, path = attempt.identity, attempt.path
        prefix, _, name = path.account.partition("_")
        # The store's own accounts, and those of other authentication services, are nobody's here.
        if not name or name.startswith(".") or prefix not in (self._reseller_prefix, self._service_prefix):
            return Access.DENIED
        if identity is not None:
            if identity.reseller_admin:
                return Access.OWNER
            # Accounts are created and deleted by the reseller.
            if (
                ADMIN in identity.groups
                and identity.user.startswith(name + ":")
                and (prefix != self._service_prefix or self._service_group in identity.service_groups)
                and (path.container or not attempt.managing)
            ):
                return Access.OWNER
            access = self._account_access(attempt, identity)
            if access is not Access.DENIED:
                return access
        if not attempt.granted or not path.container or not (path.object or attempt.reading):
            return Access.DENIED
        return Access.GRANTED if _list_grants(acl.parse(attempt.granted), attempt) else Access.DENIED

    def _account_access(self, attempt: Attempt, identity: Identity) -> Access:
        """What a reseller's reader, or a user whom the account's owner has named, may do."""
        in_account = bool(attempt.path.container)
        own = identity.account == attempt.path.account
        if attempt.reading and (RESELLER_READER in identity.groups or (own and READER in identity.groups)):
            return Access.GRANTED
        right = account_acl.right_of(account_acl.parse(attempt.account_granted()), identity)
        if right is Right.ADMINISTER and (in_account or not attempt.managing):
            return Access.OWNER
        if right >= (Right.READ if attempt.reading else Right.WRITE) and (in_account or attempt.reading):
            return Access.GRANTED
        return Access.DENIED


def _list_grants(granted: acl.AccessList, attempt: Attempt) -> bool:
    """What the container's list grants; a container itself is read by those who may list it."""
    if (
        attempt.reading
        and (attempt.path.object or granted.listings)
        and acl.admits_referrer(granted.referrers, attempt.referer)
    ):
        return True
    return attempt.identity is not None and acl.admits_user(granted.grantees, attempt.identity)
