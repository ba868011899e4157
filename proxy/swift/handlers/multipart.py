"""The body of an answer with several ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from objstore.http.messages import Body
from objstore.http.ranges import ByteRange

PART_END: Final = b"\r\n"


class MultipartBody:
    """Several ranges of one object as multipart/byteranges (RFC 9110, section 14.6); each is read in its turn."""

    def __init__(self, parts: tuple[tuple[ByteRange, Body], ...], size: int, content_type: str, boundary: str) -> None:
        self._parts: Final = [(_part_head(each, size, content_type, boundary), body) for each, body in parts]
        self._end: Final = f"--{boundary}--".encode()
        lengths = [
            len(head) + each.length + len(PART_END) for (head, _), (each, _) in zip(self._parts, parts, strict=True)
        ]
        self.length: int | None = len(self._end) + sum(lengths)

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for head, body in self._parts:
            yield head
            yield from body
            yield PART_END
        yield self._end

    def close(self) -> None:
        for _, body in self._parts:
            body.close()


def _part_head(each: ByteRange, size: int, content_type: str, boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {each.content_range(size)}\r\n\r\n"
    return head.encode("latin-1")
