"""Bodies of parts, as HTML forms send them (multipart/form-data, RFC 7578): the parts one by one, each streamed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from objstore.http.bodies import ByteStream
from objstore.http.errors import HttpError

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader

HEAD_BYTES_MAX: Final = 4096
READ_SIZE: Final = 65_536
_BOUNDARY: Final = re.compile(r"""multipart/form-data\s*;.*?\bboundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))""", re.I)
_PARAMETER: Final = re.compile(r"""[;\s](name|filename)="((?:[^"\\]|\\.)*)\"""", re.I)


class BadMultipart(HttpError):
    """What came is no such body. 400."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, reason)


class TooLongInMultipart(BadMultipart):
    """The head or the value of a part is longer than it may be."""


class FormPart(ByteStream):
    """One part, read while it comes in. Reading raises BadMultipart, beside what reading the body raises.

    name: of the form's field. filename: what the browser calls a file, as it says it; None if it is none.
    content_type: what the browser takes it for, "" if it does not say.
    """

    __slots__ = ("_body", "content_type", "filename", "name")

    def __init__(self, body: Multipart, name: str, filename: str | None, content_type: str) -> None:
        super().__init__(None)
        self._body = body
        self.name = name
        self.filename = filename
        self.content_type = content_type

    def _advance(self) -> bool:
        if not self._ready:
            self._ready = memoryview(self._body.more())
        return bool(self._ready)

    def text(self, bytes_max: int) -> str:
        """The value of a field. Raises BadMultipart if it is longer, or no UTF-8."""
        value = bytearray()
        while piece := self.read(READ_SIZE):
            value += piece
            if len(value) > bytes_max:
                raise TooLongInMultipart(f"The value of {self.name} is too long")
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise BadMultipart(f"The value of {self.name} is not UTF-8") from None


class Multipart:
    """The parts of one body."""

    def __init__(self, source: BodyReader, content_type: str) -> None:
        """Raises BadMultipart unless the type names a boundary."""
        matched = _BOUNDARY.match(content_type)
        if matched is None:
            raise BadMultipart("The type is not multipart/form-data with a boundary")
        self._source = source
        self._delimiter = b"\r\n--" + (matched[1] or matched[2]).encode("latin-1")
        self._held = b"\r\n"  # the first delimiter may begin the body
        self._in_part = True
        self._is_at_start = True

    def next(self) -> FormPart | None:
        """The next part; what is unread of the former one is passed over. None at the end. Raises BadMultipart."""
        while self.more():
            if self._is_at_start:
                raise BadMultipart("The form does not begin with its delimiter")
        self._is_at_start = False
        mark = self._take(2)
        if mark == b"--":
            return None
        if mark != b"\r\n":
            raise BadMultipart("A delimiter is followed by something else")
        head = self._head()
        parameters = {name.lower(): value for name, value in _PARAMETER.findall(_header(head, "content-disposition"))}
        if not parameters.get("name"):
            raise BadMultipart("A part without a name")
        self._in_part = True
        return FormPart(self, parameters["name"], parameters.get("filename"), _header(head, "content-type"))

    def more(self) -> bytes:
        """The next bytes of the part; b"" at its end."""
        while self._in_part:
            end = self._held.find(self._delimiter)
            # The last bytes may be the beginning of the delimiter.
            safe = end if end >= 0 else len(self._held) - len(self._delimiter) + 1
            if end >= 0:
                self._in_part = False
            if safe > 0:
                piece = self._held[:safe]
                self._held = self._held[safe:] if end < 0 else self._held[end + len(self._delimiter) :]
                return piece
            if end == 0:
                self._held = self._held[len(self._delimiter) :]
            else:
                self._receive()
        return b""

    def finish(self, bytes_max: int) -> None:
        """Pass over the parts that are left, if they are no longer than that. Raises BadMultipart."""
        while self.next() is not None:
            while piece := self.more():
                bytes_max -= len(piece)
                if bytes_max < 0:
                    raise TooLongInMultipart("The form goes on for too long")

    def _head(self) -> str:
        """The headers of a part."""
        while (end := self._held.find(b"\r\n\r\n")) < 0:
            if len(self._held) > HEAD_BYTES_MAX:
                raise TooLongInMultipart("The head of a part is too long")
            self._receive()
        if end > HEAD_BYTES_MAX:
            raise TooLongInMultipart("The head of a part is too long")
        head, self._held = self._held[:end], self._held[end + 4 :]
        return head.decode("utf-8", "replace")

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._receive()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def _receive(self) -> None:
        more = self._source.read(READ_SIZE)
        if not more:
            raise BadMultipart("The form ends too soon")
        self._held += more


def _header(head: str, name: str) -> str:
    for line in head.split("\r\n"):
        given, _, value = line.partition(":")
        if given.strip().lower() == name:
            return value.strip()
    return ""
