"""Sessions: temporary access keys, whose token says under seal what they are.

Nothing is stored: every proxy with the same secret reads a token. It holds no rights: those are looked up, with the
access key that has opened the session, at each request. So a session ends when it expires, and as soon as that key is
no longer in use. Its policies take from the rights, and never add to them.
"""

from __future__ import annotations

import binascii
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import lru_cache
from typing import Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from msgspec import Struct

from objstore.proxy.auth.tokens import derived

VERSION: Final = 1
# A token travels in a header, or in the query of a URL.
TOKEN_BYTES_MAX: Final = 4096
KNOWN_TOKENS_MAX: Final = 4096


class AccessSession(Struct, frozen=True):
    """What a token says. Moments are in seconds since the epoch.

    access_key: the temporary one. parent: the access key that has opened the session. role: "account:name" of the user
    whose rights it has, "" for the parent's own. name: what the client calls it, "" of a session without a role.
    policies: documents of AWS's language, each of which has to allow what is done.
    """

    version: int
    access_key: str
    secret: str
    parent: str
    issued: int
    expires: int
    role: str = ""
    name: str = ""
    policies: tuple[str, ...] = ()
    tags: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"AccessSession({self.access_key!r})"


class TokenTooLarge(ValueError):
    """A session's policies and tags do not fit into a token."""


class SessionSealer:
    """Makes the tokens of sessions, and reads them."""

    def __init__(self, secret: bytes) -> None:
        self._fernet: Final = Fernet(urlsafe_b64encode(derived(secret, b"sessions")))
        self.read: Final = lru_cache(maxsize=KNOWN_TOKENS_MAX)(self._read)

    def token(self, session: AccessSession) -> str:
        """Raises TokenTooLarge."""
        content = zlib.compress(msgspec.msgpack.encode(session), 9)
        sealed = self._fernet.encrypt_at_time(content, session.issued).decode()
        if len(sealed) > TOKEN_BYTES_MAX:
            raise TokenTooLarge(f"{len(sealed)} bytes, at most {TOKEN_BYTES_MAX}")
        return sealed

    def _read(self, token: str) -> AccessSession | None:
        """What a token says; None if it is not ours, or was tampered with. Expiry is for the caller to judge."""
        if len(token) > TOKEN_BYTES_MAX or not token.isascii():
            return None
        sealed = token.encode()
        try:
            # A token has one spelling: decoders of base64 skip foreign characters and ignore the last bits.
            if urlsafe_b64encode(urlsafe_b64decode(sealed)) != sealed:
                return None
            session = msgspec.msgpack.decode(zlib.decompress(self._fernet.decrypt(sealed)), type=AccessSession)
        except (binascii.Error, InvalidToken, zlib.error, msgspec.DecodeError, msgspec.ValidationError):
            return None
        return session if session.version == VERSION else None
