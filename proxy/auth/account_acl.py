"""Access to a whole account for users of others: the JSON of X-Account-Access-Control.

{"admin": ["other:boss"], "read-write": ["other"], "read-only": ["*:*"]}
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Struct

from objstore.proxy.auth.acl import names_of
from objstore.proxy.auth.identity import Identity


class AccountAccess(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="kebab"):
    """Who may do what in an account; the names are those of `objstore.proxy.auth.acl`."""

    admin: tuple[str, ...] = ()
    read_write: tuple[str, ...] = ()
    read_only: tuple[str, ...] = ()


class Right(IntEnum):
    """A right in an account; each includes the ones before."""

    NOTHING = 0
    READ = 1
    WRITE = 2
    ADMINISTER = 3


NOBODY: Final = AccountAccess()
_encoder: Final = msgspec.json.Encoder(order="sorted")
_decoder: Final = msgspec.json.Decoder(AccountAccess)


def clean(text: str) -> str:
    """The JSON in its one spelling, ASCII, as it is stored; empty if it grants nothing. Raises ValueError."""
    if not text.strip():
        return ""
    try:
        access = _decoder.decode(text.encode("latin-1"))
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(str(error)) from None
    if access == NOBODY:
        return ""
    encoded = _encoder.encode(access).decode()
    return "".join(letter if letter.isascii() else _escaped(letter) for letter in encoded)


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


@lru_cache(maxsize=256)
def parse(text: str) -> AccountAccess:
    """What `clean` made. What cannot be read grants nothing."""
    try:
        return _decoder.decode(text) if text else NOBODY
    except msgspec.DecodeError:
        return NOBODY


def right_of(access: AccountAccess, identity: Identity) -> Right:
    """The most that is granted to a user."""
    if access == NOBODY:
        return Right.NOTHING
    names = names_of(identity)
    for right, granted in (
        (Right.ADMINISTER, access.admin),
        (Right.WRITE, access.read_write),
        (Right.READ, access.read_only),
    ):
        if not names.isdisjoint(granted):
            return right
    return Right.NOTHING
