"""Access keys: pairs of an id and a secret with which users of the S3 API sign their requests.

A signature is verified with the secret itself. So a user whose key in users.toml is plain has an access key already:
"account:name" and that key. A user whose key is hashed needs one that `objstore user rotate` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from msgspec import Struct

from objstore.config.access_keys import MANAGED_FILE, ManagedUsers
from objstore.config.loading import load
from objstore.config.users import User, UsersConfig, parse_key
from objstore.followed import FollowedFile
from objstore.proxy.auth.access import UserTable, identity_of_user
from objstore.proxy.auth.identity import Identity
from objstore.proxy.auth.sessions import AccessSession
from objstore.system.threads import ThreadGroup

if TYPE_CHECKING:
    from objstore.config.proxy import AuthConfig
    from objstore.proxy.auth.tokens import TokenIssuer
    from objstore.runtime import Runtime

T = TypeVar("T")


class AccessKey(Struct, frozen=True):
    """An access key that is in use, and whose it is.

    session: None for one that lasts. policies: documents of AWS's language, which are the user's.
    """

    id: str
    secret: str
    identity: Identity
    session: AccessSession | None = None
    policies: tuple[str, ...] = ()

    @property
    def session_name(self) -> str:
        """What the client calls its session of a role; "" without one."""
        return "" if self.session is None else self.session.name

    def __repr__(self) -> str:
        return f"AccessKey({self.id!r})"


class FollowedUsers(Generic[T]):
    """What `build` makes of the users of users.toml, as it was at the start, and of access-keys.json as it is now.

    users.toml is for people to edit: it is read again when they say that it is ready, by a reload.
    """

    def __init__(
        self, config: AuthConfig, runtime: Runtime, build: Callable[[Sequence[User], ManagedUsers], T]
    ) -> None:
        """Reads the files; access-keys.json need not be there. Blocks; raises ConfigError."""
        path, users = config.access_keys, load(config.users, UsersConfig).users

        def read() -> T:
            managed = MANAGED_FILE.read(path)
            return build(merged(users, managed), managed)

        self._file: Final = FollowedFile(path, read, runtime, "access keys")

    @property
    def current(self) -> T:
        """Costs a comparison between checks of the file."""
        return self._file.current

    @property
    def newest(self) -> T:
        """Checks the file."""
        return self._file.newest


class CurrentUsers:
    """Users and their tokens, as of now."""

    def __init__(
        self,
        config: AuthConfig,
        issuer: TokenIssuer,
        runtime: Runtime,
        others: Callable[[str], Identity | None] | None = None,
    ) -> None:
        """`others` knows tokens that are not of this store's users. Blocks; raises ConfigError."""
        self._others = others
        self._own_prefix = f"{config.reseller_prefix}_tk"
        prefix, threads = config.reseller_prefix, ThreadGroup(1, "logins")
        self._followed = FollowedUsers(
            config, runtime, lambda users, _managed: UserTable(users, issuer, prefix, runtime, threads)
        )

    def login(self, account: str, name: str, key: str) -> User | None:
        """As `UserTable.login`."""
        return self._followed.current.login(account, name, key)

    def account_of(self, user: User) -> str:
        return self._followed.current.account_of(user)

    def identity_of(self, token: str) -> Identity | None:
        """As `UserTable.identity_of`; raises what `others` raises."""
        if self._others is None or token.startswith(self._own_prefix):
            return self._followed.current.identity_of(token)
        return self._others(token)


class KeyTable(Struct, frozen=True):
    """Access keys by their ids; users, and their policies if they have any, by their names: "account:name"."""

    keys: Mapping[str, AccessKey]
    users: Mapping[str, Identity]
    policies: Mapping[str, tuple[str, ...]]


class AccessKeys:
    """The access keys and users that are good as of now."""

    def __init__(
        self, config: AuthConfig, runtime: Runtime, others: Callable[[str], AccessKey | None] | None = None
    ) -> None:
        """`others` finds keys that are not of this store's users. Blocks; raises ConfigError."""
        self._others: Final = others
        self._prefix: Final = config.reseller_prefix
        self._followed = FollowedUsers(config, runtime, self._table)

    def find(self, identifier: str) -> AccessKey | None:
        """The access key of this id, if it is in use; one that nobody knew is looked for in the file as it is now."""
        found = self._followed.current.keys.get(identifier) or self._followed.newest.keys.get(identifier)
        return self._others(identifier) if found is None and self._others is not None else found

    def user(self, name: str) -> Identity | None:
        """The user who is known as "account:name", unless disabled."""
        return self._followed.current.users.get(name)

    def of_session(self, session: AccessSession) -> AccessKey | None:
        """The temporary key, with the rights of now; None if they are gone. Expiry is for the caller to judge."""
        parent = self.find(session.parent)
        if parent is None:
            return None
        identity = self.user(session.role) if session.role else parent.identity
        if identity is None:
            return None
        policies = self._followed.current.policies.get(identity.user, ())
        return AccessKey(session.access_key, session.secret, identity, session, policies)

    def _table(self, users: Sequence[User], managed: ManagedUsers) -> KeyTable:
        identities = [identity_of_user(user, self._prefix) for user in users]
        policies = policies_of(identities, managed)
        keys = access_keys(users, managed, self._prefix, policies)
        return KeyTable({key.id: key for key in keys}, {each.user: each for each in identities}, policies)


def merged(users: Iterable[User], managed: ManagedUsers) -> list[User]:
    """The users of both files who are not disabled; one that the command has added logs in with the newest secret."""
    disabled = {(user.account, user.name) for user in managed.users if user.disabled}
    known = [user for user in users if (user.account, user.name) not in disabled]
    names = {(user.account, user.name) for user in known}
    for user in managed.users:
        if user.added and not user.disabled and (user.account, user.name) not in names:
            secrets = [key.secret for key in user.keys if key.active]
            known += [User(user.account, user.name, secrets[-1], user.groups)] if secrets else []
    return known


def policies_of(identities: Iterable[Identity], managed: ManagedUsers) -> dict[str, tuple[str, ...]]:
    """The documents that are for each user, by name or by group; users without any are not there."""
    # An account, and a group of it, or a user of it as "account:name".
    by_grantee: dict[tuple[str, str], list[str]] = {}
    groups: dict[str, list[str]] = {}
    for policy in managed.policies:
        named = [f"{policy.account}:{user}" for user in policy.users]
        for grantee in (*named, *policy.groups):
            by_grantee.setdefault((policy.account, grantee), []).append(policy.document)
    for user in managed.users:
        own = [each.document for each in user.policies]
        by_grantee.setdefault((user.account, f"{user.account}:{user.name}"), []).extend(own)
    for group in managed.groups:
        by_grantee.setdefault((group.account, group.name), []).extend(each.document for each in group.policies)
        for member in group.users:
            groups.setdefault(f"{group.account}:{member}", []).append(group.name)
    found: dict[str, tuple[str, ...]] = {}
    for identity in identities if by_grantee else ():
        account = identity.user.partition(":")[0]
        grantees = (*identity.groups, *groups.get(identity.user, ()))
        documents = [each for grantee in grantees for each in by_grantee.get((account, grantee), ())]
        if documents:
            found[identity.user] = tuple(dict.fromkeys(documents))
    return found


def access_keys(
    users: Iterable[User], managed: ManagedUsers, reseller_prefix: str, policies: Mapping[str, tuple[str, ...]]
) -> Iterable[AccessKey]:
    """The keys in use of these users: plain ones, under the user's name, and those that the command has made."""
    made = {(user.account, user.name): user for user in managed.users}
    for user in users:
        identity = identity_of_user(user, reseller_prefix)
        own = policies.get(identity.user, ())
        entry = made.get((user.account, user.name))
        if (entry is None or not entry.added) and parse_key(user.key) is None:
            yield AccessKey(identity.user, user.key, identity, policies=own)
        for key in () if entry is None else entry.keys:
            if key.active:
                yield AccessKey(key.id, key.secret, identity, policies=own)
