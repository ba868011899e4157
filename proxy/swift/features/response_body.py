"""The body of one answer, read as the body of the next request."""

from __future__ import annotations

from objstore.http.messages import Body


class ResponseReader:
    """A BodyReader over the body of a Response. Closing the body stays with whoever has the Response."""

    def __init__(self, body: bytes | Body) -> None:
        self._chunks = iter((body,) if isinstance(body, bytes) else body)
        self._left = memoryview(b"")
        self.trailers: dict[str, str] = {}
        self.ended = False

    def _advance(self) -> bool:
        """Have something left to give; False at the end."""
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                self.ended = True
                return False
            self._left = memoryview(chunk)
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, b"" at the end; everything for -1."""
        if size < 0:
            parts = []
            while self._advance():
                parts.append(bytes(self._left))
                self._left = memoryview(b"")
            return b"".join(parts)
        if size == 0 or not self._advance():
            return b""
        part = bytes(self._left[:size])
        self._left = self._left[size:]
        return part

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer; less only at the end."""
        filled = 0
        while filled < len(buffer) and self._advance():
            part = self._left[: len(buffer) - filled]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            self._left = self._left[len(part) :]
        return filled
