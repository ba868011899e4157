"""What temporary URLs and forms have in common: signatures by keys of accounts and containers, and what they grant."""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.headers import Client, Owner
from objstore.http.errors import HttpError
from objstore.paths import ResourcePath
from objstore.proxy.swift.request import SwiftRequest, unauthorized

if TYPE_CHECKING:
    from objstore.proxy.core.lookup import InfoSource

_DIGEST_OF_HEX_DIGITS: Final = {40: "sha1", 64: "sha256", 128: "sha512"}
_NAMED: Final = re.compile(r"(sha1|sha256|sha512):([A-Za-z0-9+/_-]+={0,2})")
_ACCOUNT_KEYS: Final = tuple(
    name.removeprefix(Client.ACCOUNT_META_PREFIX) for name in (Owner.ACCOUNT_TEMP_URL_KEY, Owner.ACCOUNT_TEMP_URL_KEY_2)
)
_CONTAINER_KEYS: Final = tuple(
    name.removeprefix(Client.CONTAINER_META_PREFIX)
    for name in (Owner.CONTAINER_TEMP_URL_KEY, Owner.CONTAINER_TEMP_URL_KEY_2)
)


class Signature(Struct, frozen=True):
    """A signature as a client gives it: in hexadecimal digits, or as "sha256:" and base64."""

    digest: str
    value: bytes

    @classmethod
    def parse(cls, text: str) -> Signature | None:
        """None if it is no signature."""
        named = _NAMED.fullmatch(text)
        try:
            if named is not None:
                return cls(named[1], b64decode(named[2].replace("-", "+").replace("_", "/") + "==", validate=False))
            digest = _DIGEST_OF_HEX_DIGITS.get(len(text))
            return None if digest is None else cls(digest, bytes.fromhex(text))
        except (ValueError, binascii.Error):
            return None

    def is_of(self, key: str, messages: Iterable[bytes]) -> bool:
        """Whether the key signs one of the messages so; takes the same time whichever it is."""
        signed = [hmac.digest(key.encode("latin-1"), message, self.digest) for message in messages]
        return sum(hmac.compare_digest(each, self.value) for each in signed) > 0


class SigningKey(Struct, frozen=True):
    """A key, and the account or the container that it opens."""

    secret: str
    scope: ResourcePath

    def authorize(self, request: SwiftRequest, methods: frozenset[str], listed: str | None = None) -> None:
        """What takes the place of the request's own rights. Raises HttpError 401.

        listed: how the names begin that a web page may list.
        """
        path = request.accessed or request.storage_resource
        inside = path.account == self.scope.account and self.scope.container in ("", path.container)
        if path.object or request.storage_resource.object:  # segments of an object are listed to be read
            granted = request.access_method in methods
        else:
            granted = listed is not None and request.is_of_web_page and request.params["prefix"].startswith(listed)
        if not inside or not granted:
            raise unauthorized(path.account)


def keys_of(info: InfoSource, path: ResourcePath, transaction_id: str) -> list[SigningKey]:
    """The keys that may sign for a path."""
    container, account = (each.metadata for each in info.container_and_account(path, transaction_id))
    found = [SigningKey(account[name], ResourcePath(path.account)) for name in _ACCOUNT_KEYS if account.get(name)]
    return found + [SigningKey(container[name], path.container_path) for name in _CONTAINER_KEYS if container.get(name)]


def digest_section(digests: tuple[str, ...]) -> dict[str, object]:
    """What /info says of the digests that signatures may be made with."""
    return {"allowed_digests": sorted(digests), "deprecated_digests": [name for name in digests if name == "sha1"]}


def key_that_signs(
    given: str, messages: list[bytes], keys: list[SigningKey], allowed: tuple[str, ...]
) -> SigningKey | None:
    """The key by which a signature is good for one of the messages."""
    signature = Signature.parse(given)
    if signature is None or signature.digest not in allowed:
        return None
    return next((key for key in keys if signature.is_of(key.secret, messages)), None)


def refuse(request: SwiftRequest, what: str) -> HttpError:
    """401: what the client has is not good, or no longer."""
    refusal = unauthorized(request.storage_resource.account)
    return HttpError(401, what, refusal.headers)
