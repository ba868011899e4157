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


class ChunkState(Enum):
    """What comes next on the wire."""

    SIZE = auto()
    CONTENT = auto()
    CONTENT_END = auto()
    TRAILER = auto()
    ENDED = auto()


class ChunkLines:
    """Lines and content of a body in chunks, as they come: what the codings have in common.

    A coding says what a line means (`_take_line`), and what is raised (`_bad`). line_bytes_max: without the line's end.
    """

    def __init__(self, line_bytes_max: int) -> None:
        self._state = ChunkState.SIZE
        self._line = bytearray()
        self._line_bytes_max = line_bytes_max
        self.chunk_left = 0  # bytes of content still to come in the current chunk

    @property
    def ended(self) -> bool:
        """Whether everything has come, and is what it must be."""
        return self._state is ChunkState.ENDED

    def skip(self, count: int) -> None:
        """`count` bytes of the current chunk's content were taken off the wire by somebody else."""
        self.chunk_left -= count
        if self.chunk_left == 0:
            self._state = ChunkState.CONTENT_END

    def take(self, content: bytes | memoryview) -> None:
        """Content of the current chunk was taken off the wire."""
        self.skip(len(content))

    def feed(self, wire: bytes) -> tuple[bytes, int]:
        """The content in `wire`, and how many of its bytes were used: all, unless the body ends within them."""
        parts: list[bytes] = []
        position, end = 0, len(wire)
        while position < end and self._state is not ChunkState.ENDED:
            if self._state is ChunkState.CONTENT:
                part = wire[position : position + self.chunk_left]
                parts.append(part)
                position += len(part)
                self.take(part)
                continue
            newline = wire.find(b"\n", position)
            stop = end if newline < 0 else newline + 1
            self._line += wire[position:stop]
            position = stop
            if len(self._line) > self._line_bytes_max + 2:
                raise self._bad("a line is too long")
            if self._state is ChunkState.CONTENT_END and not b"\r\n".startswith(self._line):
                raise self._bad("a chunk is longer than announced")
            if newline >= 0:
                line = bytes(self._line)
                self._line.clear()
                if not line.endswith(b"\r\n"):
                    raise self._bad("a line does not end in CRLF")
                if self._state is ChunkState.CONTENT_END:
                    self._state = ChunkState.SIZE
                else:
                    self._take_line(line[:-2])
        return (parts[0] if len(parts) == 1 else b"".join(parts)), position

    def _take_line(self, line: bytes) -> None:
        """A line before a chunk, or of the trailers; it sets the state."""
        raise NotImplementedError

    def _bad(self, reason: str) -> Exception:
        """What a malformed body raises."""
        raise NotImplementedError


class ChunkedDecoder(ChunkLines):
    """Takes bytes off the wire and gives content; raises BadFraming at the first byte that is not as it must be."""

    def __init__(self) -> None:
        super().__init__(CHUNK_LINE_MAX)
        self._trailer_bytes = 0
        self.trailers: dict[str, str] = {}

    def _bad(self, reason: str) -> BadFraming:
        return BadFraming(reason=f"Malformed chunked body: {reason}")

    def _take_line(self, line: bytes) -> None:
        if self._state is ChunkState.SIZE:
            matched = _SIZE.match(line)
            if matched is None:
                raise self._bad("a chunk size is not a hexadecimal number")
            self.chunk_left = int(matched[1], 16)
            self._state = ChunkState.CONTENT if self.chunk_left else ChunkState.TRAILER
        elif line:
            self._take_trailer(line)
        else:
            self._state = ChunkState.ENDED

    def _take_trailer(self, line: bytes) -> None:
        matched = _FIELD.match(line)
        self._trailer_bytes += len(line)
        if matched is None or len(self.trailers) >= TRAILERS_MAX or self._trailer_bytes > TRAILER_BYTES_MAX:
            raise self._bad("malformed or too many trailers")
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
