"""Erasure codes: how a body becomes fragments of which any `data` give it back. Pure, but for PyECLib.

A body is cut into segments of `segment_size` bytes, the last one shorter. Each segment is encoded by itself into one
piece for each fragment, and a fragment is the pieces of all segments one after the other:

    fragment    piece of segment 0 | piece of segment 1 | ...
    piece       PyECLib's header (80 bytes) | payload | xxh3-64 of both (8 bytes)

All pieces of a segment are equally long, so that a range of the body is a range of each fragment. The payloads of the
first `data` fragments are the segment itself: where they are sound, nothing has to be decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import xxhash
from msgspec import Struct
from pyeclib.ec_iface import ECDriver, ECDriverError

# Of these, any `data` fragments give the body back; the others need certain ones.
EC_TYPES: Final = ("isa_l_rs_cauchy", "isa_l_rs_vand", "liberasurecode_rs_vand")
# By number of parities with how many data fragments ISA-L's Vandermonde matrix can be inverted whatever is lost; with
# more of either it cannot for some sets of fragments (found by trying all in the field of 256 elements).
VANDERMONDE_DATA_MAX: Final = {1: 63, 2: 62, 3: 61, 4: 21}
FRAGMENTS_MAX: Final = 64
SEGMENT_BYTES_MIN: Final = 4096
SEGMENT_BYTES_MAX: Final = 16 * 1024 * 1024
HEADER_BYTES: Final = 80
CHECKSUM_BYTES: Final = 8

Piece = bytes | memoryview


class BadCode(ValueError):
    """No such code, one that can lose data, or fragments that it cannot decode."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"erasure code {code}: {reason}")


class PieceDamaged(ValueError):
    """A piece is not as it was made."""

    def __init__(self, index: int, segment: int, reason: str) -> None:
        super().__init__(f"fragment {index}, segment {segment}: {reason}")


class ErasureCode(Struct, frozen=True):
    """A code and the size of its segments: all that is needed to read what was stored with it."""

    ec_type: str
    data: int
    parity: int
    segment_size: int

    @classmethod
    def parse(cls, text: str) -> ErasureCode:
        """From its text, as in "isa_l_rs_cauchy/4/2/1048576". Raises BadCode."""
        ec_type, *numbers = text.split("/")
        if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
            raise BadCode(text, "not TYPE/DATA/PARITY/SEGMENT_SIZE")
        return checked_code(ec_type, *map(int, numbers))

    def __str__(self) -> str:
        return f"{self.ec_type}/{self.data}/{self.parity}/{self.segment_size}"

    @property
    def fragments(self) -> int:
        """How many different fragments there are."""
        return self.data + self.parity

    def segment_count(self, size: int) -> int:
        """Of how many segments a body of `size` bytes consists."""
        return -(-size // self.segment_size)

    def segment_length(self, segment: int, size: int) -> int:
        """How many bytes a segment of a body has."""
        return min(self.segment_size, size - segment * self.segment_size)

    def piece_length(self, segment_length: int) -> int:
        """How many bytes of a fragment a segment of so many bytes takes."""
        return _payload_length(self, segment_length) + HEADER_BYTES + CHECKSUM_BYTES

    def fragment_length(self, size: int) -> int:
        """How many bytes each fragment of a body has."""
        return self.offset(self.segment_count(size), size)

    def offset(self, segment: int, size: int) -> int:
        """Where in a fragment the piece of a segment begins; with the number of segments, where the last one ends."""
        whole, rest = divmod(size, self.segment_size)
        if segment <= whole or not rest:
            return segment * self.piece_length(self.segment_size) if segment else 0
        return (whole * self.piece_length(self.segment_size) if whole else 0) + self.piece_length(rest)

    def encode(self, segment: Piece) -> list[bytes]:
        """The piece of each fragment. A segment has at least one byte."""
        pieces = _driver(self.ec_type, self.data, self.parity).encode(bytes(segment))
        return [piece + xxhash.xxh3_64_digest(piece) for piece in pieces]

    def check(self, piece: Piece, index: int, segment: int) -> None:
        """Raises PieceDamaged unless every byte of a piece is as it was made for this fragment."""
        content = memoryview(piece)[:-CHECKSUM_BYTES]
        if len(piece) <= HEADER_BYTES + CHECKSUM_BYTES:
            raise PieceDamaged(index, segment, "it is too short")
        if xxhash.xxh3_64_digest(content) != piece[-CHECKSUM_BYTES:]:
            raise PieceDamaged(index, segment, "it does not match its checksum")
        if int.from_bytes(content[:4], "little") != index:
            raise PieceDamaged(index, segment, "it is of another fragment")

    def payload(self, piece: Piece, index: int, segment_length: int) -> Piece:
        """What of a segment is in the checked piece of a data fragment: its payload without what fills it up."""
        end = min((index + 1) * _payload_length(self, segment_length), segment_length)
        length = max(end - index * _payload_length(self, segment_length), 0)
        return memoryview(piece)[HEADER_BYTES : HEADER_BYTES + length]

    def decode(self, pieces: Mapping[int, Piece], length: int) -> list[Piece]:
        """The bytes of a segment of `length` bytes, in parts, from checked pieces of `data` fragments by their index.

        Raises BadCode if these cannot be decoded.
        """
        if all(index in pieces for index in range(self.data)):
            return [self.payload(pieces[index], index, length) for index in range(self.data)]
        driver = _driver(self.ec_type, self.data, self.parity)
        try:
            segment = driver.decode([bytes(piece[:-CHECKSUM_BYTES]) for piece in pieces.values()])
        except ECDriverError as error:
            raise BadCode(str(self), str(error)) from error
        if len(segment) != length:
            raise BadCode(str(self), f"a segment of {len(segment)} bytes instead of {length}")
        return [segment]

    def rebuild(self, pieces: Mapping[int, Piece], missing: int) -> bytes:
        """The piece of a missing fragment, from checked pieces of `data` others. Raises BadCode."""
        driver = _driver(self.ec_type, self.data, self.parity)
        try:
            (piece,) = driver.reconstruct([bytes(piece[:-CHECKSUM_BYTES]) for piece in pieces.values()], [missing])
        except ECDriverError as error:
            raise BadCode(str(self), str(error)) from error
        rebuilt = bytes(piece)
        return rebuilt + xxhash.xxh3_64_digest(rebuilt)

    def data_indexes(self, segment: int, first: int, last: int, size: int) -> Sequence[int]:
        """Whose payloads hold the bytes of a segment that lie in the range from `first` to `last` of the body."""
        begin, length = segment * self.segment_size, self.segment_length(segment, size)
        payload = _payload_length(self, length)
        start, stop = max(first - begin, 0), min(last - begin, length - 1)
        return range(start // payload, stop // payload + 1)

    def payload_length(self, segment_length: int) -> int:
        """How many bytes of a segment lie in one data fragment."""
        return _payload_length(self, segment_length)


@lru_cache(maxsize=64)
def checked_code(ec_type: str, data: int, parity: int, segment_size: int) -> ErasureCode:
    """A code that can be trusted with data. Raises BadCode."""
    name = f"{ec_type} {data}+{parity}"
    if ec_type not in EC_TYPES:
        raise BadCode(name, f"ec_type is one of {', '.join(EC_TYPES)}")
    if data < 1 or parity < 1 or data + parity > FRAGMENTS_MAX:
        raise BadCode(name, f"from 1 data and 1 parity fragment up to {FRAGMENTS_MAX} in all")
    if ec_type == "isa_l_rs_vand" and data > VANDERMONDE_DATA_MAX.get(parity, 0):
        reason = "with so many fragments some sets of them cannot be decoded: data would be lost"
        raise BadCode(name, f"{reason}; isa_l_rs_cauchy has no such sets")
    if not SEGMENT_BYTES_MIN <= segment_size <= SEGMENT_BYTES_MAX:
        raise BadCode(name, f"segments of {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX} bytes")
    _driver(ec_type, data, parity)
    return ErasureCode(ec_type, data, parity, segment_size)


@lru_cache(maxsize=64)
def _driver(ec_type: str, data: int, parity: int) -> ECDriver:
    try:
        return ECDriver(k=data, m=parity, ec_type=ec_type, chksum_type="none")
    except (ECDriverError, ValueError) as error:
        raise BadCode(f"{ec_type} {data}+{parity}", str(error)) from error


@lru_cache(maxsize=4096)
def _payload_length(code: ErasureCode, segment_length: int) -> int:
    if segment_length == 0:
        return 0
    info = _driver(code.ec_type, code.data, code.parity).get_segment_info(segment_length, segment_length)
    return int(info["fragment_size"]) - HEADER_BYTES
