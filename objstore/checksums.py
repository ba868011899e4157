"""Checksums of bodies in the spelling of S3: one engine for any set of algorithms, and what a whole has of its parts.

A value is the base64 of the checksum's bytes, a CRC's in big-endian order. The checksum of an object that came in parts
is either `composite`, one over the checksums of the parts, or `full_object`, what the whole body would have: CRCs of
parts are enough to tell that of the whole.
"""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Final

from awscrt import checksums as crt

Chunk = bytes | memoryview


class Algorithm(StrEnum):
    """By the names that S3 gives them."""

    MD5 = "MD5"
    CRC32 = "CRC32"
    CRC32C = "CRC32C"
    CRC64NVME = "CRC64NVME"
    SHA1 = "SHA1"
    SHA256 = "SHA256"


class _Crc:
    """A running CRC, with the interface of hashlib's."""

    __slots__ = ("_function", "_value", "digest_size")

    def __init__(self, function: Callable[[Any, int], int], size: int) -> None:
        self._function = function
        self._value = 0
        self.digest_size = size

    def update(self, chunk: Chunk) -> None:
        self._value = self._function(chunk, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self.digest_size, "big")


# zlib's CRC32 is twice as fast as awscrt's, whose other two are faster than memory. All of them let other threads run.
_BEGIN: Final[dict[Algorithm, Callable[[], Any]]] = {
    Algorithm.MD5: partial(hashlib.md5, usedforsecurity=False),
    Algorithm.CRC32: partial(_Crc, zlib.crc32, 4),
    Algorithm.CRC32C: partial(_Crc, crt.crc32c, 4),
    Algorithm.CRC64NVME: partial(_Crc, crt.crc64nvme, 8),
    Algorithm.SHA1: partial(hashlib.sha1, usedforsecurity=False),
    Algorithm.SHA256: partial(hashlib.sha256, usedforsecurity=False),
}
_COMBINE: Final[dict[Algorithm, Callable[[int, int, int], int]]] = {
    Algorithm.CRC32: crt.combine_crc32,
    Algorithm.CRC32C: crt.combine_crc32c,
    Algorithm.CRC64NVME: crt.combine_crc64nvme,
}
COMBINABLE: Final = frozenset(_COMBINE)
SIZES: Final = {algorithm: begin().digest_size for algorithm, begin in _BEGIN.items()}


class Checksums:
    """Any set of checksums of one body, in one pass over its chunks; they may be taken in on a thread."""

    __slots__ = ("_running",)

    def __init__(self, algorithms: Iterable[Algorithm]) -> None:
        self._running: Final = {algorithm: _BEGIN[algorithm]() for algorithm in algorithms}

    def update(self, chunk: Chunk) -> None:
        """Take in what comes next."""
        for running in self._running.values():
            running.update(chunk)

    def values(self) -> dict[Algorithm, str]:
        """The checksums of what has been taken in."""
        return {algorithm: encode(running.digest()) for algorithm, running in self._running.items()}


def checksums_of(algorithms: Iterable[Algorithm], content: Chunk) -> dict[Algorithm, str]:
    """Those of a body that is at hand."""
    checksums = Checksums(algorithms)
    checksums.update(content)
    return checksums.values()


def encode(digest: bytes) -> str:
    """The spelling of a checksum."""
    return b64encode(digest).decode("ascii")


def decode(algorithm: Algorithm, value: str) -> bytes:
    """The checksum with this spelling. Raises ValueError if it is none of the algorithm's."""
    digest = b64decode(value, validate=True)
    if len(digest) != SIZES[algorithm]:
        raise ValueError(f"{algorithm} has {SIZES[algorithm]} bytes, not {len(digest)}")
    return digest


def composite(algorithm: Algorithm, values: Sequence[str]) -> str:
    """The checksum of an object by those of its parts: over their bytes, and with their number. Raises ValueError."""
    whole = checksums_of((algorithm,), b"".join(decode(algorithm, value) for value in values))
    return f"{whole[algorithm]}-{len(values)}"


def full_object(algorithm: Algorithm, parts: Iterable[tuple[str, int]]) -> str:
    """The CRC of a whole body by the CRC and the length in bytes of each part, in order. Raises ValueError."""
    combine, whole = _COMBINE[algorithm], 0
    for value, length in parts:
        whole = combine(whole, int.from_bytes(decode(algorithm, value), "big"), length)
    return encode(whole.to_bytes(SIZES[algorithm], "big"))


def is_composite_value(value: str) -> bool:
    """Whether a checksum is over those of parts, and not of the whole body."""
    return "-" in value
