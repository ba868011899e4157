"""The chunked transfer coding with trailers (RFC 9112, section 7.1), without I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import ClassVar, Final

from objstore.http.errors import HttpError

CHUNK_LINE_MAX: Final = 4096
TRAILERS_MAX: Final = 64
TRAILER_BYTES_MAX: Final = 65536

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,10})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?\Z")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*\Z")


@dataclass(eq=False)
class BadFraming(HttpError):
    message: ClassVar[str] = "malformed chunked body: {reason}"

    status: int = 400
    reason: str = "Malformed chunked body"
    headers: dict[str, str] = field(default_factory=dict)


class _State(Enum):
    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()
    ENDED = auto()


class ChunkedDecoder:
    """Takes bytes off the wire and gives content; raises BadFraming at the first byte that is not as it must be."""

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._line = bytearray()
        self._trailer_bytes = 0
        self.chunk_left = 0  # bytes of content still to come in the current chunk
        self.trailers: dict[str, str] = {}

    @property
    def ended(self) -> bool:
        """Whether the last chunk and the trailers are complete."""
        return self._state is _State.ENDED

    def skip(self, count: int) -> None:
        """`count` bytes of the current chunk's content were taken off the wire by somebody else."""
        self.chunk_left -= count
        if self.chunk_left == 0:
            self._state = _State.CONTENT_END

    def feed(self, wire: bytes) -> tuple[bytes, int]:
        """The content in `wire`, and how many of its bytes were used: all, unless the body ends within them."""
        parts: list[bytes] = []
        position, end = 0, len(wire)
        while position < end and self._state is not _State.ENDED:
            if self._state is _State.CONTENT:
                part = wire[position : position + self.chunk_left]
                parts.append(part)
                position += len(part)
                self.skip(len(part))
                continue
            newline = wire.find(b"\n", position)
            stop = end if newline < 0 else newline + 1
            self._line += wire[position:stop]
            position = stop
            if len(self._line) > CHUNK_LINE_MAX + 2:
                raise _bad("a line is too long")
            if self._state is _State.CONTENT_END and not b"\r\n".startswith(self._line):
                raise _bad("a chunk is longer than announced")
            if newline >= 0:
                line = bytes(self._line)
                self._line.clear()
                if not line.endswith(b"\r\n"):
                    raise _bad("a line does not end in CRLF")
                self._take_line(line[:-2])
        return (parts[0] if len(parts) == 1 else b"".join(parts)), position

    def _take_line(self, line: bytes) -> None:
        if self._state is _State.CONTENT_END:
            self._state = _State.SIZE
        elif self._state is _State.SIZE:
            matched = _SIZE.match(line)
            if matched is None:
                raise _bad("a chunk size is not a hexadecimal number")
            self.chunk_left = int(matched[1], 16)
            self._state = _State.CONTENT if self.chunk_left else _State.TRAILER
        elif line:
            self._take_trailer(line)
        else:
            self._state = _State.ENDED

    def _take_trailer(self, line: bytes) -> None:
        matched = _FIELD.match(line)
        self._trailer_bytes += len(line)
        if matched is None or len(self.trailers) >= TRAILERS_MAX or self._trailer_bytes > TRAILER_BYTES_MAX:
            raise _bad("malformed or too many trailers")
        self.trailers[matched[1].decode("ascii").title()] = matched[2].decode("latin-1")


def chunk_head(size: int) -> bytes:
    """What goes before a chunk's content; after it goes CRLF."""
    return b"%x\r\n" % size


def last_chunk(trailers: Mapping[str, str]) -> bytes:
    """The end of a chunked body. Names and values hold no control characters: ValueError otherwise."""
    if not trailers:
        return b"0\r\n\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
    if lines.count("\n") != len(trailers) or lines.count("\r") != len(trailers) or "\0" in lines:
        raise ValueError("a trailer holds a control character")
    return b"0\r\n" + lines.encode("latin-1") + b"\r\n"


def _bad(reason: str) -> BadFraming:
    return BadFraming(reason=f"Malformed chunked body: {reason}")
