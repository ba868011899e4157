"""Where a resource lives: the hash of its path, whose top bits are its partition."""

import hmac
from hashlib import md5

from objstore.paths import ResourcePath


class PathHasher:
    """md5(prefix + path + suffix).

    The prefix and suffix are the cluster's secrets: they keep clients from choosing names that all fall
    on one partition. They never change, since every stored item is found by this hash.
    """

    def __init__(self, prefix: str, suffix: str) -> None:
        self._prefix = prefix.encode()
        self._suffix = suffix.encode()

    def digest(self, path: ResourcePath) -> bytes:
        """16 bytes."""
        return md5(self._prefix + str(path).encode() + self._suffix, usedforsecurity=False).digest()

    def hexdigest(self, path: ResourcePath) -> str:
        """32 lower-case hex digits: the name of the directory that holds the item."""
        return self.digest(path).hex()

    def derived_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, which tells nothing about the secrets or keys for others."""
        secret = len(self._prefix).to_bytes(8, "big") + self._prefix + self._suffix
        return hmac.digest(secret, purpose.encode(), "sha256")
