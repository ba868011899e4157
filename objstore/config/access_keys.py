"""access-keys.json: users, access keys, groups and policies that commands and the query API of IAM manage.

People edit users.toml, programs rewrite this file. It holds secrets as they are: a signature of the S3 API can be
verified only by who knows the secret itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Self, TypeVar

import msgspec
from msgspec import Struct

from objstore.config.written import WrittenFile

# 1: without groups, policies of one user or group, and moments of creation.
FORMAT: Final = 2
FORMATS: Final = (1, FORMAT)
FILE_BYTES_MAX: Final = 64 << 20
KEYS_PER_USER_MAX: Final = 10
# Of an account.
USERS_MAX: Final = 5000
GROUPS_MAX: Final = 300
POLICIES_MAX: Final = 1500


class StoredKey(Struct, frozen=True, forbid_unknown_fields=True):
    """An access key; `created` is as in 2026-01-31T23:59:59Z."""

    id: str
    secret: str
    created: str
    active: bool = True

    def __repr__(self) -> str:
        return f"StoredKey({self.id!r}, active={self.active})"


class InlinePolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy of one user or group alone."""

    name: str
    document: str


class ManagedUser(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says of a user; moments are as those of keys, "" if nobody knows.

    added: the user exists because this entry does, with these groups, which carry rights; else users.toml has the user.
    disabled: no key and no token of the user is good, whichever file they are in.
    """

    account: str
    name: str
    groups: tuple[str, ...] = ()
    added: bool = False
    disabled: bool = False
    keys: tuple[StoredKey, ...] = ()
    created: str = ""
    policies: tuple[InlinePolicy, ...] = ()


class ManagedGroup(Struct, frozen=True, forbid_unknown_fields=True):
    """Users of an account who share policies. It carries no other right: no access list knows it."""

    account: str
    name: str
    created: str
    users: tuple[str, ...] = ()
    policies: tuple[InlinePolicy, ...] = ()


class ManagedPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy of an account, in AWS's language, and the account's users and groups that it is for.

    name: of one of AWS's own policies its whole ARN. edition: how often the document was replaced, and one.
    """

    account: str
    name: str
    document: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    created: str = ""
    edition: int = 1
    description: str = ""


class ManagedUsers(Struct, frozen=True, forbid_unknown_fields=True):
    """All that is managed. revision: of what the store itself keeps, higher with each change; 0 of a file alone."""

    version: int = FORMAT
    revision: int = 0
    users: tuple[ManagedUser, ...] = ()
    policies: tuple[ManagedPolicy, ...] = ()
    groups: tuple[ManagedGroup, ...] = ()

    def __post_init__(self) -> None:
        if self.version not in FORMATS:
            raise ValueError(f"format {self.version}, this program knows {FORMAT}")
        names = Counter(("user", user.account, user.name) for user in self.users)
        names.update(("group", group.account, group.name) for group in self.groups)
        names.update(("policy", policy.account, policy.name) for policy in self.policies)
        identifiers = Counter(key.id for user in self.users for key in user.keys)
        if any(count > 1 for count in (*names.values(), *identifiers.values())):
            raise ValueError("a user, a group, an access key or a policy stands there twice")


MANAGED_FILE: Final = WrittenFile(ManagedUsers, "objstore user", FILE_BYTES_MAX)
# Account and name.
Name = tuple[str, str]
Member = TypeVar("Member", ManagedPolicy, ManagedGroup)
Named = TypeVar("Named", ManagedUser, ManagedPolicy, ManagedGroup)


class ManagedTables(Struct, frozen=True):
    """What somebody changes: users, policies and groups by account and name."""

    users: dict[Name, ManagedUser]
    policies: dict[Name, ManagedPolicy]
    groups: dict[Name, ManagedGroup]

    @classmethod
    def of(cls, managed: ManagedUsers) -> Self:
        return cls(_by_name(managed.users), _by_name(managed.policies), _by_name(managed.groups))

    @property
    def managed(self) -> ManagedUsers:
        return ManagedUsers(
            users=tuple(self.users.values()),
            policies=tuple(self.policies.values()),
            groups=tuple(self.groups.values()),
        )

    def remove_user(self, who: Name) -> None:
        """Take a user away, from policies and groups too."""
        account, name = who
        del self.users[who]
        _leave(self.policies, account, name)
        _leave(self.groups, account, name)


def _leave(table: dict[Name, Member], account: str, name: str) -> None:
    for key, each in table.items():
        if each.account == account and name in each.users:
            table[key] = msgspec.structs.replace(each, users=tuple(own for own in each.users if own != name))


def _by_name(entries: Iterable[Named]) -> dict[Name, Named]:
    return {(each.account, each.name): each for each in entries}
