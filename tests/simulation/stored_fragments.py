"""How the checks read fragments of erasure-coded objects: their own account of pieces, by the library of the code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pyeclib.ec_iface import ECDriver, ECDriverError
from xxhash import xxh3_64_digest

CHECKSUM_BYTES: Final = 8


@dataclass(frozen=True)
class StoredCode:
    """A code, from its text: "TYPE/DATA/PARITY/SEGMENT_SIZE"."""

    ec_type: str
    data: int
    parity: int
    segment_size: int

    @classmethod
    def of(cls, text: str) -> StoredCode:
        """Read it."""
        ec_type, *numbers = text.split("/")
        return cls(ec_type, *map(int, numbers))

    def _segments(self, size: int) -> Iterator[tuple[int, int]]:
        """The length of each segment of a body, and that of its pieces."""
        for start in range(0, size, self.segment_size):
            length = min(self.segment_size, size - start)
            info = _driver(self.ec_type, self.data, self.parity).get_segment_info(length, length)
            yield length, int(info["fragment_size"]) + CHECKSUM_BYTES

    def body(self, fragments: Mapping[int, bytes], size: int) -> bytes | None:
        """The body of which these are fragments; None if they are too few, or give none."""
        if len(fragments) < self.data:
            return None
        parts, at, driver = [], 0, _driver(self.ec_type, self.data, self.parity)
        for length, piece in self._segments(size):
            pieces = [each[at : at + piece - CHECKSUM_BYTES] for each in fragments.values()]
            try:
                parts.append(driver.decode(pieces[: self.data]))
            except ECDriverError:
                return None
            if len(parts[-1]) != length:
                return None
            at += piece
        return b"".join(parts)

    def fragment(self, body: bytes, number: int) -> bytes:
        """A fragment of a body, as it has to be."""
        driver, parts = _driver(self.ec_type, self.data, self.parity), []
        for start in range(0, len(body), self.segment_size):
            piece = driver.encode(body[start : start + self.segment_size])[number]
            parts += [piece, xxh3_64_digest(piece)]
        return b"".join(parts)


@lru_cache
def _driver(ec_type: str, data: int, parity: int) -> ECDriver:
    return ECDriver(k=data, m=parity, ec_type=ec_type, chksum_type="none")
