"""Tokens: encrypted statements of who has logged in, how, until when, and for what. Nothing of them is stored.

What the user may do with one is looked up when it is used; whether it was revoked, too.
"""

from __future__ import annotations

import binascii
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import IntFlag
from typing import Final

import msgspec
from msgspec import Struct

from objstore.identity.keys import KeyFolder

VERSION: Final = 1
TOKEN_LENGTH_MAX: Final = 255  # some clients and databases keep no more
AUDIT_BYTES: Final = 12
MICROSECONDS: Final = 1_000_000
HEXADECIMAL: Final = re.compile("(?:[0-9a-f]{2})+").fullmatch
HEXADECIMAL_MARK: Final = b"\0"  # no id begins with it


class Methods(IntFlag):
    """How somebody has proved who they are."""

    PASSWORD = 1
    TOKEN = 2
    APPLICATION_CREDENTIAL = 4
    EC2 = 8

    @property
    def names(self) -> list[str]:
        """As the API calls them."""
        return [METHOD_NAMES[method] for method in Methods if method in self]


METHOD_NAMES: Final = {
    Methods.PASSWORD: "password",
    Methods.TOKEN: "token",
    Methods.APPLICATION_CREDENTIAL: "application_credential",
    Methods.EC2: "ec2credential",
}


class TokenScope(Struct, frozen=True, array_like=True):
    """What a token is for: `kind` is "project", "domain" or "system", or "" for nothing."""

    kind: str = ""
    id: str = ""


class TokenClaims(Struct, frozen=True):
    """What a token says. Times are microseconds since the epoch.

    `audit_ids` are its own, and that of the login it goes back to.
    """

    user_id: str
    methods: Methods
    scope: TokenScope
    issued: int
    expires: int
    audit_ids: tuple[str, ...]
    application_credential_id: str | None = None


class _Sealed(Struct, frozen=True, array_like=True):
    """The claims as they are encrypted; ids are packed."""

    version: int
    user: bytes
    methods: int
    kind: int
    target: bytes
    issued: int
    lasts: int
    audit: list[bytes]
    application_credential: bytes


KINDS: Final = ("", "project", "domain", "system")


class TokenIssuing:
    """Makes tokens, and reads them."""

    def __init__(self, keys: KeyFolder) -> None:
        self._keys = keys

    def issue(self, claims: TokenClaims) -> str:
        """Raises KeysUnusable."""
        sealed = _Sealed(
            VERSION,
            _packed(claims.user_id),
            int(claims.methods),
            KINDS.index(claims.scope.kind),
            _packed(claims.scope.id),
            claims.issued,
            claims.expires - claims.issued,
            [urlsafe_b64decode(audit_id) for audit_id in claims.audit_ids],
            _packed(claims.application_credential_id or ""),
        )
        return urlsafe_b64encode(self._keys.seal(msgspec.msgpack.encode(sealed))).decode().rstrip("=")

    def read(self, token: str) -> TokenClaims | None:
        """What a token says; None if it is not ours. Whether it holds is for the caller to judge.

        A token has one spelling: decoders skip foreign characters, so the text is compared with what encoding gives.
        """
        if len(token) > TOKEN_LENGTH_MAX or not token.isascii():
            return None
        try:
            content = urlsafe_b64decode(token + "=" * (-len(token) % 4))
            if urlsafe_b64encode(content).decode().rstrip("=") != token:
                return None
            opened = self._keys.open(content)
            sealed = None if opened is None else msgspec.msgpack.decode(opened, type=_Sealed)
        except (binascii.Error, msgspec.MsgspecError):
            return None
        if sealed is None or sealed.version != VERSION:
            return None
        return TokenClaims(
            _unpacked(sealed.user),
            Methods(sealed.methods),
            TokenScope(KINDS[sealed.kind], _unpacked(sealed.target)),
            sealed.issued,
            sealed.issued + sealed.lasts,
            tuple(urlsafe_b64encode(audit).decode() for audit in sealed.audit),
            _unpacked(sealed.application_credential) or None,
        )


def new_audit_id() -> str:
    """By which a token is known without being shown."""
    return urlsafe_b64encode(secrets.token_bytes(AUDIT_BYTES)).decode()


def _packed(text: str) -> bytes:
    """Half as long where it is hexadecimal, as all ids are that this service makes."""
    packed = bytes.fromhex(text) if HEXADECIMAL(text) else b""
    return HEXADECIMAL_MARK + packed if packed else text.encode()


def _unpacked(packed: bytes) -> str:
    return packed[1:].hex() if packed[:1] == HEXADECIMAL_MARK else packed.decode()
