"""users.toml: who may ask for a token, for clusters without an identity service.

A user's key stands there hashed, or plain where secrecy does not matter:

    scrypt$16384$8$1$<salt>$<hash>          cost, block size, parallelism; salt and hash in base64
    pbkdf2_sha256$600000$<salt>$<hash>      iterations
    anything else                           the key itself
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from typing import Final

from msgspec import Struct

SCRYPT: Final = "scrypt"
PBKDF2: Final = "pbkdf2_sha256"
# How many numbers stand before the salt.
NUMBERS: Final = {SCRYPT: 3, PBKDF2: 1}
SCRYPT_MEMORY_MAX: Final = 256 * 1024 * 1024
NUMBER_MAX: Final = 1 << 31


class Derivation(Struct, frozen=True, order=True):
    """How a key is hashed: what decides how long that takes. `size` is of the hash, in bytes."""

    kind: str
    numbers: tuple[int, ...]
    size: int


class HashedKey(Struct, frozen=True):
    derivation: Derivation
    salt: bytes
    derived: bytes


class User(Struct, frozen=True):
    """One [[users]] entry. A user is known as "account:name" and shows `key` to get a token.

    Groups that begin with a dot carry rights: .admin over the account, .reseller_admin over all accounts,
    .reseller_reader to read all.
    """

    account: str
    name: str
    key: str
    groups: tuple[str, ...] = ()
    url: str = ""


class UsersConfig(Struct, frozen=True):
    users: tuple[User, ...] = ()

    def __post_init__(self) -> None:
        names = Counter((user.account, user.name) for user in self.users)
        for user in self.users:
            name = f"users: {user.account}:{user.name}"
            if not user.account or not user.name or names[user.account, user.name] > 1:
                raise ValueError(f"{name} needs both parts and may stand there once")
            try:
                parse_key(user.key)
            except ValueError:
                # Without the reason, which might quote the key.
                raise ValueError(f"{name} has a hashed key that is malformed") from None


def parse_key(stored: str) -> HashedKey | None:
    """A hashed key taken apart, None for a plain one. Raises ValueError for a malformed one."""
    kind, *words = stored.split("$")
    if kind not in NUMBERS or not words:
        return None
    if len(words) != NUMBERS[kind] + 2:
        raise ValueError("too few or too many parts")
    numbers = tuple(map(int, words[:-2]))
    salt, derived = (b64decode(word, validate=True) for word in words[-2:])
    if not derived or not all(0 < number < NUMBER_MAX for number in numbers):
        raise ValueError("a number is out of range")
    if kind == SCRYPT:
        cost, block_size, parallelism = numbers
        if cost < 2 or cost & (cost - 1) or 128 * block_size * (cost + parallelism + 2) > SCRYPT_MEMORY_MAX:
            raise ValueError("the cost is no power of two, or too much memory would be needed")
    return HashedKey(Derivation(kind, numbers, len(derived)), salt, derived)
