"""What is encrypted, as it is stored. Pure.

A body is cut into chunks of 64 KiB, each encrypted by AES-256-GCM with its tag behind it. The key is the object's own
and encrypts nothing else, so the nonce is a counter: eleven bytes for the number of the chunk, and one that is 1 for
the last chunk. A body that is cut off, or whose chunks stand in another order, is found out by that. An empty body is
one empty chunk.

A small value is sealed by AES-256-GCM under a key that is made for it alone: by HMAC-SHA256 of twelve random bytes,
which stand in front of it, followed by twelve bytes that are the nonce. So one key may seal any number of values.
"""

from __future__ import annotations

from collections.abc import Iterator
from hmac import digest
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from objstore.http.ranges import ByteRange
from objstore.proxy.core.errors import SealBroken

CHUNK_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16
SEALED_CHUNK_BYTES: Final = CHUNK_BYTES + TAG_BYTES
KEY_BYTES: Final = 32
_SALT_BYTES: Final = 12
_FRONT_BYTES: Final = 2 * _SALT_BYTES
_COUNTER_BYTES: Final = 11
_MORE: Final = b"\0"
_LAST: Final = b"\1"


def new_key() -> bytes:
    """32 bytes from the system's generator."""
    return AESGCM.generate_key(bit_length=8 * KEY_BYTES)


def seal(key: bytes, value: bytes, context: bytes) -> bytes:
    """A small value, which only `unseal` with the same key and context gives back."""
    front = new_key()[:_FRONT_BYTES]
    own_key = digest(key, front[:_SALT_BYTES], "sha256")
    return front + AESGCM(own_key).encrypt(front[_SALT_BYTES:], value, context)


def unseal(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """The value. Raises SealBroken for another key or context, and for what has been changed."""
    if len(sealed) < _FRONT_BYTES + TAG_BYTES:
        raise SealBroken
    own_key = digest(key, sealed[:_SALT_BYTES], "sha256")
    try:
        return AESGCM(own_key).decrypt(sealed[_SALT_BYTES:_FRONT_BYTES], sealed[_FRONT_BYTES:], context)
    except InvalidTag:
        raise SealBroken from None


def chunk_count(size: int) -> int:
    """How many chunks a body of so many bytes has."""
    return max(-(-size // CHUNK_BYTES), 1)


def sealed_size(size: int) -> int:
    """How many bytes are stored of a body of `size` bytes."""
    return size + TAG_BYTES * chunk_count(size)


def opened_size(stored: int) -> int:
    """How many bytes a body has of which `stored` are stored. Raises SealBroken for a size that none has."""
    size = stored - TAG_BYTES * -(-stored // SEALED_CHUNK_BYTES)
    if size < 0 or sealed_size(size) != stored:
        raise SealBroken
    return size


def covering(wanted: ByteRange, size: int) -> ByteRange:
    """Which stored bytes have to be read for these of a body of `size` bytes: whole chunks."""
    first, last = wanted.first // CHUNK_BYTES, wanted.last // CHUNK_BYTES
    return ByteRange(first * SEALED_CHUNK_BYTES, min((last + 1) * SEALED_CHUNK_BYTES, sealed_size(size)) - 1)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(_COUNTER_BYTES, "big") + (_LAST if last else _MORE)


class ChunkSealer:
    """Encrypts one body under a key that nothing else is encrypted with."""

    __slots__ = ("_cipher", "_held", "_number", "size")

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._held = b""  # the next chunk, as far as it has come
        self._number = 0
        self.size = 0  # so many bytes were taken in

    def update(self, content: bytes | memoryview) -> bytes:
        """Take in what comes next; gives what is to be stored next, "" if that is not known yet."""
        self.size += len(content)
        content = self._held + bytes(content) if self._held else content
        # Which chunk is the last one is known only when more has come, or nothing.
        whole = (len(content) - 1) // CHUNK_BYTES * CHUNK_BYTES if content else 0
        view = memoryview(content)
        self._held = bytes(view[whole:])
        return b"".join(self._sealed(view[start : start + CHUNK_BYTES]) for start in range(0, whole, CHUNK_BYTES))

    def _sealed(self, chunk: memoryview) -> bytes:
        number, self._number = self._number, self._number + 1
        return self._cipher.encrypt(_nonce(number, last=False), chunk, None)

    def finish(self) -> bytes:
        """The last chunk."""
        held, self._held = self._held, b""
        return self._cipher.encrypt(_nonce(self._number, last=True), held, None)


class ChunkOpener:
    """Decrypts a body of `size` bytes, from the chunk that `first` lies in."""

    __slots__ = ("_cipher", "_held", "_last", "_number", "_skip")

    def __init__(self, key: bytes, size: int, first: int = 0) -> None:
        self._cipher = AESGCM(key)
        self._last = chunk_count(size) - 1
        self._number, self._skip = divmod(first, CHUNK_BYTES)
        self._held = b""

    def update(self, content: bytes | memoryview) -> bytes:
        """Decrypt what is stored next, in whole chunks. Raises SealBroken."""
        content = self._held + bytes(content) if self._held else content
        whole = len(content) // SEALED_CHUNK_BYTES * SEALED_CHUNK_BYTES
        view = memoryview(content)
        self._held = bytes(view[whole:])
        return b"".join(self._opened(view[:whole]))

    def finish(self) -> bytes:
        """What is left. Raises SealBroken."""
        return b"".join(self._opened(memoryview(self._held))) if self._held else b""

    def _opened(self, content: memoryview) -> Iterator[bytes]:
        for start in range(0, len(content), SEALED_CHUNK_BYTES):
            chunk = content[start : start + SEALED_CHUNK_BYTES]
            try:
                opened = self._cipher.decrypt(_nonce(self._number, self._number == self._last), chunk, None)
            except (InvalidTag, ValueError):
                raise SealBroken from None
            self._number += 1
            skip, self._skip = self._skip, 0
            yield opened[skip:] if skip else opened


def seal_whole(key: bytes, content: bytes) -> bytes:
    """A body at hand, as it is stored."""
    sealer = ChunkSealer(key)
    return sealer.update(content) + sealer.finish()


def open_whole(key: bytes, stored: bytes) -> bytes:
    """The body that is stored so. Raises SealBroken."""
    opener = ChunkOpener(key, opened_size(len(stored)))
    return opener.update(stored) + opener.finish()
