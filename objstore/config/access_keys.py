"""access-keys.json: users, access keys and policies that commands manage, beside the users of users.toml.

People edit users.toml, the command rewrites this file. It holds secrets as they are: a signature of the S3 API can be
verified only by who knows the secret itself.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from msgspec import Struct

from objstore.config.written import WrittenFile

FORMAT: Final = 1
FILE_BYTES_MAX: Final = 64 << 20
KEYS_PER_USER_MAX: Final = 10


class StoredKey(Struct, frozen=True, forbid_unknown_fields=True):
    """An access key; `created` is as in 2026-01-31T23:59:59Z."""

    id: str
    secret: str
    created: str
    active: bool = True

    def __repr__(self) -> str:
        return f"StoredKey({self.id!r}, active={self.active})"


class ManagedUser(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file says of a user.

    added: the user exists because this entry does, with these groups; else users.toml has the user. disabled: no key
    and no token of the user is good, whichever file they are in.
    """

    account: str
    name: str
    groups: tuple[str, ...] = ()
    added: bool = False
    disabled: bool = False
    keys: tuple[StoredKey, ...] = ()


class ManagedPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """A policy of an account, in AWS's language, and the account's users and groups that it is for."""

    account: str
    name: str
    document: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class ManagedUsers(Struct, frozen=True, forbid_unknown_fields=True):
    version: int = FORMAT
    users: tuple[ManagedUser, ...] = ()
    policies: tuple[ManagedPolicy, ...] = ()

    def __post_init__(self) -> None:
        if self.version != FORMAT:
            raise ValueError(f"format {self.version}, this program knows {FORMAT}")
        names = Counter((user.account, user.name) for user in self.users)
        identifiers = Counter(key.id for user in self.users for key in user.keys)
        policies = Counter((policy.account, policy.name) for policy in self.policies)
        if any(count > 1 for count in (*names.values(), *identifiers.values(), *policies.values())):
            raise ValueError("a user, an access key or a policy stands there twice")


MANAGED_FILE: Final = WrittenFile(ManagedUsers, "objstore user", FILE_BYTES_MAX)
