"""The name of an account, a container or an object, and the hash of it: its top bits are the resource's partition."""

import hmac
from hashlib import md5
from typing import Self
from urllib.parse import quote

from msgspec import Struct


class ResourcePath(Struct, frozen=True, order=True, gc=False):
    """account[/container[/object]] as real text, unquoted; an empty part is absent.

    An object lies in a container and a container in an account: anything else raises ValueError.
    """

    account: str
    container: str = ""
    object: str = ""

    def __post_init__(self) -> None:
        if not self.account or (self.object and not self.container):
            raise ValueError(f"a part is missing before the last in {tuple(self.parts)}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "/account[/container[/object]]" (unquoted); an object's name may hold further slashes."""
        if not text.startswith("/"):
            raise ValueError(f"a path begins with a slash: {text!r}")
        return cls(*text[1:].split("/", 2))

    def __str__(self) -> str:
        if self.object:
            return f"/{self.account}/{self.container}/{self.object}"
        if self.container:
            return f"/{self.account}/{self.container}"
        return f"/{self.account}"

    @property
    def parts(self) -> list[str]:
        """The one to three parts that are present."""
        return [part for part in (self.account, self.container, self.object) if part]

    @property
    def quoted(self) -> str:
        """The path percent-quoted in UTF-8, slashes kept, as it stands in a URL."""
        return quote(str(self))

    @property
    def is_container(self) -> bool:
        return bool(self.container) and not self.object

    @property
    def is_object(self) -> bool:
        return bool(self.object)

    @property
    def account_path(self) -> "ResourcePath":
        return ResourcePath(self.account)

    @property
    def container_path(self) -> "ResourcePath":
        """The container this path lies in; ValueError on the path of an account."""
        if not self.container:
            raise ValueError(f"{self} names no container")
        return ResourcePath(self.account, self.container)

    def with_object(self, name: str) -> "ResourcePath":
        return ResourcePath(self.account, self.container, name)


class PathHasher:
    """md5(prefix + path + suffix).

    The prefix and suffix are the cluster's secrets: they keep clients from choosing names that all fall
    on one partition. They never change, since every stored item is found by this hash.
    """

    def __init__(self, prefix: str, suffix: str) -> None:
        self._prefix = prefix.encode()
        self._suffix = suffix.encode()

    def digest(self, path: ResourcePath) -> bytes:
        return md5(self._prefix + str(path).encode() + self._suffix, usedforsecurity=False).digest()

    def hexdigest(self, path: ResourcePath) -> str:
        """32 lower-case hex digits: the name of the directory that holds the item."""
        return self.digest(path).hex()

    def derived_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose, which tells nothing about the secrets or keys for others."""
        secret = len(self._prefix).to_bytes(8, "big") + self._prefix + self._suffix
        return hmac.digest(secret, purpose.encode(), "sha256")
