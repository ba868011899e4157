"""How an object is encrypted: what a writer asks for, and what stands with the object."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5
from hmac import compare_digest, digest
from typing import Final

import msgspec
from msgspec import Struct

from objstore.proxy.core.encryption.format import KEY_BYTES, new_key
from objstore.proxy.core.errors import SealBroken

VERSION: Final = 1
# Whose key it is: the store's own, one of the key ring that the writer names, or one that comes with each request.
OWN: Final = "AES256"
NAMED: Final = ("aws:kms", "aws:kms:dsse")
CUSTOMER: Final = "customer"
_CHECK_SALT_BYTES: Final = 16


class CustomerKey:
    """A key that comes with a request and is forgotten with it."""

    __slots__ = ("value",)

    def __init__(self, value: bytes) -> None:
        """Raises ValueError unless it has 32 bytes."""
        if len(value) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        self.value = value

    @property
    def md5(self) -> str:
        """In base64, as clients are told which key is meant."""
        return b64encode(md5(self.value, usedforsecurity=False).digest()).decode()

    def check(self) -> bytes:
        """By this `matches` knows the key again: a salt, and an HMAC of it."""
        salt = new_key()[:_CHECK_SALT_BYTES]
        return salt + digest(self.value, salt, "sha256")

    def matches(self, check: bytes) -> bool:
        salt, expected = check[:_CHECK_SALT_BYTES], check[_CHECK_SALT_BYTES:]
        return compare_digest(digest(self.value, salt, "sha256"), expected)


class Seal(Struct, frozen=True, omit_defaults=True):
    """How an object is to be encrypted.

    kind: OWN, one of NAMED, or CUSTOMER. key: of the NAMED, its id; "" for the store's own. context: further text that
    is bound to the key, an encryption context of SSE-KMS. bucket_key: only repeated to clients. check: of a CUSTOMER's
    key.
    """

    kind: str = OWN
    key: str = ""
    context: str = ""
    bucket_key: bool = False
    check: bytes = b""


class Envelope(Struct, frozen=True, omit_defaults=True):
    """What stands with an encrypted object, for everybody to read; see Seal.

    root: the id of the secret under which its metadata is. wrapped: the key of the body, under that secret, the named
    key or the customer's. parts: the body lists names of parts, beside what is encrypted (`manifests`).
    """

    seal: Seal
    root: str
    wrapped: bytes
    parts: bool = False
    version: int = VERSION

    @property
    def wrapped_by_customer(self) -> bool:
        # A manifest is written by a request that has no key to bring.
        return self.seal.kind == CUSTOMER and not self.parts


class Facts(Struct, frozen=True, omit_defaults=True):
    """What is known of an encrypted object and stands with it encrypted: its size in bytes, its ETag, and the system
    metadata that tells something of its content."""

    size: int
    etag: str
    system: dict[str, str] = {}


_encoder: Final = msgspec.json.Encoder()
_envelopes: Final = msgspec.json.Decoder(Envelope)
_facts: Final = msgspec.json.Decoder(Facts)


def encode_envelope(envelope: Envelope) -> str:
    """The value of its system metadata."""
    return _encoder.encode(envelope).decode("latin-1")


def decode_envelope(text: str) -> Envelope:
    """Raises SealBroken for what this program cannot read."""
    try:
        envelope = _envelopes.decode(text.encode("latin-1"))
    except (msgspec.DecodeError, UnicodeError):
        raise SealBroken from None
    if envelope.version != VERSION:
        raise SealBroken
    return envelope


def encode_facts(facts: Facts) -> bytes:
    return _encoder.encode(facts)


def decode_facts(content: bytes) -> Facts:
    """Raises SealBroken."""
    try:
        return _facts.decode(content)
    except (msgspec.DecodeError, UnicodeError):
        raise SealBroken from None
