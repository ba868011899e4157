"""The keys of encryption at rest: who makes them, and those of one container."""

from __future__ import annotations

from functools import lru_cache
from hmac import digest
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from objstore.config.encryption_keys import KEYS_FILE, EncryptionKeys
from objstore.followed import FollowedFile
from objstore.paths import ResourcePath
from objstore.proxy.core.errors import EncryptionKeyMissing

if TYPE_CHECKING:
    from objstore.runtime import Runtime

CONTAINERS_REMEMBERED_MAX: Final = 4096
_MAC_BYTES: Final = 16


class KeyManager(Protocol):
    """Holds secrets, and makes keys of them. The same secret, purpose and context always make the same key.

    What Vault's transit engine gives as an HMAC under a named key is such a key.
    """

    @property
    def active(self) -> str:
        """The id of the root secret for new objects; "" if there is none, so that nothing can be encrypted."""

    @property
    def roots(self) -> tuple[str, ...]:
        """The ids of all root secrets."""

    def derive(self, secret: str, purpose: str, context: str) -> bytes:
        """A key of 32 bytes. Raises EncryptionKeyMissing."""

    def named(self, name: str) -> str | None:
        """The id of the key that a client calls by its id or its alias; None for none."""


class _Secrets:
    """The content of the file; a new one for each state of it, so that nothing of another is remembered."""

    def __init__(self, stored: EncryptionKeys) -> None:
        self.active: Final = stored.active
        self.roots: Final = tuple(key.id for key in stored.keys if not key.alias)
        self.values: Final = {key.id: key.value for key in stored.keys}
        self.names: Final = {name: key.id for key in stored.keys if key.alias for name in (key.id, key.alias)}
        self.derive: Final = lru_cache(CONTAINERS_REMEMBERED_MAX)(self._derive)

    def _derive(self, secret: str, purpose: str, context: str) -> bytes:
        value = self.values.get(secret)
        if value is None:
            raise EncryptionKeyMissing(secret)
        return digest(value, f"{purpose}\0{context}".encode(), "sha256")


class KeyRing:
    """The KeyManager whose secrets are in a file, which `objstore key` changes while this is used."""

    def __init__(self, path: str, runtime: Runtime) -> None:
        """The file need not be there. Blocks; raises ConfigError."""
        self._file: Final = FollowedFile(path, lambda: _Secrets(KEYS_FILE.read(path)), runtime, "encryption keys")

    @property
    def active(self) -> str:
        return self._file.current.active

    @property
    def roots(self) -> tuple[str, ...]:
        return self._file.current.roots

    def derive(self, secret: str, purpose: str, context: str) -> bytes:
        """See KeyManager."""
        return self._file.current.derive(secret, purpose, context)

    def named(self, name: str) -> str | None:
        """See KeyManager."""
        return self._file.current.names.get(name)


class ContainerKeys(Struct, frozen=True):
    """The keys of a container under one secret.

    wrapping: of the keys of objects. sealing: of metadata, and of what is listed. comparing: of ETags, which servers
    compare without knowing them.
    """

    secret: str
    wrapping: bytes
    sealing: bytes
    comparing: bytes

    @classmethod
    def of(cls, manager: KeyManager, secret: str, path: ResourcePath) -> ContainerKeys:
        """Raises EncryptionKeyMissing."""
        context = f"{path.account}/{path.container}"
        wrapping, sealing, comparing = (
            manager.derive(secret, purpose, context) for purpose in ("wrapping", "sealing", "comparing")
        )
        return cls(secret, wrapping, sealing, comparing)

    def mac(self, name: str, etag: str) -> str:
        """What is stored in the place of an object's ETag: 32 digits that tell only whether two are the same."""
        return digest(self.comparing, f"{name}\0{etag}".encode(), "sha256")[:_MAC_BYTES].hex()
