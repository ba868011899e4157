"""encryption-keys.json: the secrets from which all keys of encryption at rest are made; `objstore key` writes it.

Without these secrets what is encrypted is lost. One that encrypted anything must stay in the file as long as that is
stored.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from msgspec import Struct

from objstore.config.written import WrittenFile

FORMAT: Final = 1
FILE_BYTES_MAX: Final = 1 << 20
SECRET_BYTES: Final = 32
# Each condition on an ETag is compared under every root secret.
ROOTS_MAX: Final = 16


class EncryptionKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret, 32 bytes in base64; `created` is as in 2026-01-31T23:59:59Z.

    A root secret has no alias. A key with one is what clients of the S3 API name for SSE-KMS, by its id or its alias.
    """

    id: str
    secret: str
    created: str
    alias: str = ""

    def __repr__(self) -> str:
        return f"EncryptionKey({self.id!r}, alias={self.alias!r})"

    @property
    def value(self) -> bytes:
        return b64decode(self.secret, validate=True)


class EncryptionKeys(Struct, frozen=True, forbid_unknown_fields=True):
    """What the file holds. active: the id of the root secret under which new objects are encrypted."""

    active: str = ""
    keys: tuple[EncryptionKey, ...] = ()
    version: int = FORMAT

    def __post_init__(self) -> None:
        if self.version != FORMAT:
            raise ValueError(f"format {self.version}, this program knows {FORMAT}")
        ids = [key.id for key in self.keys] + [key.alias for key in self.keys if key.alias]
        if len(set(ids)) < len(ids):
            raise ValueError("an id or an alias stands there twice")
        if any(len(key.value) != SECRET_BYTES for key in self.keys):
            raise ValueError(f"a secret has not {SECRET_BYTES} bytes")
        roots = [key.id for key in self.keys if not key.alias]
        if (self.keys and self.active not in roots) or len(roots) > ROOTS_MAX:
            raise ValueError(f"the active one must be one of up to {ROOTS_MAX} root secrets")


KEYS_FILE: Final = WrittenFile(EncryptionKeys, "objstore key", FILE_BYTES_MAX)


def encoded_secret(secret: bytes) -> str:
    """A secret as the file has it."""
    return b64encode(secret).decode()
