"""Tokens: encrypted statements that a user has shown the right key, readable by every proxy with the same secret.

Nothing is stored: a token survives restarts and is good on all proxies. It is void when it expires, and as soon as
the user's key or groups change or the user is removed.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from msgspec import Struct

from objstore.config.users import User
from objstore.paths import ResourcePath
from objstore.system.clock import Clock

if TYPE_CHECKING:
    from objstore.cluster import Cluster
    from objstore.config.proxy import AuthConfig

VERSION: Final = 1
TOKEN_LENGTH_MAX: Final = 2048
FINGERPRINT_BYTES: Final = 16
# Hashed like a path, but no path holds a NUL: a secret that all proxies of a cluster share, and nobody sees.
SECRET_NAME: Final = ResourcePath("\0token-secret")


class Claim(Struct, frozen=True, array_like=True):
    """What a token says. `fingerprint` is of the user's entry at the time of the login."""

    version: int
    account: str
    name: str
    expires: int  # seconds since the epoch
    fingerprint: bytes


class TokenIssuer:
    """Makes and reads tokens. Tokens begin with `prefix`, which says whose they are."""

    def __init__(self, secret: bytes, prefix: str, clock: Clock) -> None:
        self._fernet = Fernet(urlsafe_b64encode(derived(secret, b"tokens")))
        self._fingerprint_key = derived(secret, b"fingerprints")
        self._prefix = prefix + "tk"
        self._clock = clock

    def issue(self, user: User, life_seconds: int) -> str:
        now = int(self._clock.now())
        claim = Claim(VERSION, user.account, user.name, now + life_seconds, self.fingerprint(user))
        sealed = self._fernet.encrypt_at_time(msgspec.msgpack.encode(claim), now)
        return self._prefix + sealed.decode()

    def read(self, token: str) -> Claim | None:
        """What a token says; None if it is not ours, or was tampered with. Expiry is for the caller to judge.

        A token has one spelling. Decoders of base64 skip foreign characters and ignore the last bits, so the text is
        compared with what encoding makes of the bytes.
        """
        if not token.startswith(self._prefix) or len(token) > TOKEN_LENGTH_MAX or not token.isascii():
            return None
        sealed = token[len(self._prefix) :].encode()
        try:
            if urlsafe_b64encode(urlsafe_b64decode(sealed)) != sealed:
                return None
            claim = msgspec.msgpack.decode(self._fernet.decrypt(sealed), type=Claim)
        except (binascii.Error, InvalidToken, msgspec.DecodeError):
            return None
        return claim if claim.version == VERSION else None

    def fingerprint(self, user: User) -> bytes:
        """Changes with anything of the user's entry that decides what the user may do."""
        entry = msgspec.msgpack.encode((user.account, user.name, user.key, sorted(user.groups)))
        return hmac.digest(self._fingerprint_key, entry, "sha256")[:FINGERPRINT_BYTES]


def token_secret(config: AuthConfig, cluster: Cluster) -> bytes:
    """What the proxies of a cluster make the keys of their tokens of."""
    return config.token_secret.encode() or cluster.hasher.digest(SECRET_NAME)


def derived(secret: bytes, purpose: bytes) -> bytes:
    """A key for one purpose: 32 bytes."""
    return hmac.digest(secret, b"objstore " + purpose, "sha256")
