"""Reading a gzip stream in exact pieces."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

from objstore.errors import StoreError

GZIP_ONLY: Final = zlib.MAX_WBITS | 16  # zlib: expect a gzip header, and check CRC and length at the end


@dataclass(eq=False)
class GunzipError(StoreError):
    """The stream is broken, or ends too early or too late."""

    reason: str

    message = "{reason}"


class Gunzip:
    """Decompresses bytes piecewise, never more than asked for, so that a small file cannot fill the memory."""

    def __init__(self, content: bytes) -> None:
        self._stream: Final = zlib.decompressobj(GZIP_ONLY)
        self._pending = content

    def read_up_to(self, length: int) -> bytes:
        """`length` bytes, or fewer at the end of the stream."""
        pieces: list[bytes] = []
        missing = length
        while missing and not self._stream.eof:
            piece = self._decompress(missing)
            if not piece and not self._pending and not self._stream.eof:
                raise GunzipError("it is truncated")
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read_exactly(self, length: int, what: str) -> bytes:
        """`length` bytes; raises GunzipError naming `what` is cut off."""
        content = self.read_up_to(length)
        if len(content) < length:
            raise GunzipError(f"it ends within {what}")
        return content

    def expect_end(self) -> None:
        """Check that nothing follows and that the checksum is right; raises GunzipError otherwise."""
        if self.read_up_to(1):
            raise GunzipError("there are bytes after the last replica")
        if self._stream.unused_data.strip(b"\0"):
            raise GunzipError("there are bytes after the compressed data")

    def _decompress(self, length: int) -> bytes:
        try:
            piece = self._stream.decompress(self._pending, length)
        except zlib.error as error:
            raise GunzipError(f"its compressed data are broken ({error})") from error
        self._pending = self._stream.unconsumed_tail
        return piece
