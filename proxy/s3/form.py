"""HTML forms with a file (multipart/form-data, RFC 7578): fields first, then the file, which streams.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.http.bodies import ByteStream
from objstore.proxy.s3.errors import S3Error

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader

FIELDS_BYTES_MAX: Final = 20_480
HEAD_BYTES_MAX: Final = 4096
FIELDS_MAX: Final = 200
# Fields behind the file mean nothing; only so much of them is read.
REST_BYTES_MAX: Final = 65_536
READ_SIZE: Final = 65_536
FILE: Final = "file"
_BOUNDARY: Final = re.compile(r"""multipart/form-data\s*;.*?\bboundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))""", re.I)
_PARAMETER: Final = re.compile(r"""[;\s](name|filename)="((?:[^"\\]|\\.)*)\"""", re.I)


class PostedForm(Struct, frozen=True):
    """A form. fields: by name in lower case, what stands before the file; `${filename}` is expanded.

    filename: what the browser calls the file, without folders. content_type: what it takes it for.
    """

    fields: Mapping[str, str]
    file: PostedFile
    filename: str
    content_type: str


class PostedFile(ByteStream):
    """The file of a form. Reading raises S3Error, beside what reading the form raises.

    Its end is given only if the form ends as it must, and the file is as long as the policy wants.
    """

    __slots__ = ("_delimiter", "_ended", "_held", "_length_max", "_length_min", "_source", "_total")

    def __init__(self, source: BodyReader, held: bytes, delimiter: bytes) -> None:
        """`held` is what was read of it already."""
        super().__init__(None)
        self._source = source
        self._held = held
        self._delimiter = delimiter
        self._ended = False
        self._total = 0
        self._length_min = 0
        self._length_max: int | None = None

    def limit(self, length_min: int, length_max: int | None) -> None:
        """Refuse a file that is shorter or longer."""
        self._length_min, self._length_max = length_min, length_max

    def _advance(self) -> bool:
        while not self._ready:
            if self._ended:
                return False
            end = self._held.find(self._delimiter)
            if end >= 0:
                self._offer(self._held[:end])
                self._finish(self._held[end + len(self._delimiter) :])
                continue
            # The last bytes may be the beginning of the delimiter.
            safe = len(self._held) - len(self._delimiter) + 1
            if safe > 0:
                self._offer(self._held[:safe])
                self._held = self._held[safe:]
                continue
            more = self._source.read(READ_SIZE)
            if not more:
                raise S3Error("MalformedPOSTRequest")
            self._held += more
        return True

    def _offer(self, content: bytes) -> None:
        self._total += len(content)
        if self._length_max is not None and self._total > self._length_max:
            raise S3Error("EntityTooLarge", ProposedSize=self._total, MaxSizeAllowed=self._length_max)
        self._ready = memoryview(content)

    def _finish(self, rest: bytes) -> None:
        """Take the form to its end."""
        while more := self._source.read(READ_SIZE):
            rest += more
            if len(rest) > REST_BYTES_MAX + READ_SIZE:
                raise S3Error("MalformedPOSTRequest")
        if not rest.startswith(b"--") and not (rest.startswith(b"\r\n") and self._delimiter + b"--" in rest):
            raise S3Error("MalformedPOSTRequest")
        if self._total < self._length_min:
            raise S3Error("EntityTooSmall", ProposedSize=self._total, MinSizeAllowed=self._length_min)
        self._ended = True


def read_form(source: BodyReader, content_type: str) -> PostedForm:
    """The fields of a form up to its file, which is read later. Raises S3Error."""
    matched = _BOUNDARY.match(content_type)
    if matched is None:
        raise S3Error("PreconditionFailed", Condition="Bucket POST must be of the enclosure-type multipart/form-data")
    delimiter = b"\r\n--" + (matched[1] or matched[2]).encode("latin-1")
    return _FieldReader(source, delimiter).form()


class _FieldReader:
    def __init__(self, source: BodyReader, delimiter: bytes) -> None:
        self._source = source
        self._delimiter = delimiter
        self._held = b"\r\n"  # the first delimiter begins the body
        self._left = FIELDS_BYTES_MAX + HEAD_BYTES_MAX

    def form(self) -> PostedForm:
        if self._until(self._delimiter, FIELDS_BYTES_MAX):
            raise S3Error("MalformedPOSTRequest")
        fields: dict[str, str] = {}
        for _ in range(FIELDS_MAX):
            if self._until(b"\r\n", 2):
                # The closing delimiter, or what is none.
                raise S3Error("IncorrectNumberOfFilesInPostRequest")
            head = self._until(b"\r\n\r\n", HEAD_BYTES_MAX).decode("utf-8", "replace")
            disposition = _header(head, "content-disposition")
            parameters = {name.lower(): value for name, value in _PARAMETER.findall(disposition)}
            name = parameters.get("name", "").lower()
            if not name:
                raise S3Error("MalformedPOSTRequest")
            if name == FILE:
                filename = re.split(r"[/\\]", parameters.get("filename", ""))[-1]
                expanded = {field: value.replace("${filename}", filename) for field, value in fields.items()}
                file = PostedFile(self._source, self._held, self._delimiter)
                return PostedForm(expanded, file, filename, _header(head, "content-type"))
            value = self._until(self._delimiter, FIELDS_BYTES_MAX)
            try:
                fields.setdefault(name, value.decode())
            except UnicodeDecodeError:
                raise S3Error("MalformedPOSTRequest") from None
        raise S3Error("MaxPostPreDataLengthExceededError")

    def _until(self, end: bytes, bytes_max: int) -> bytes:
        """What stands before `end`, which is taken away too. Raises S3Error."""
        while (at := self._held.find(end)) < 0:
            if len(self._held) > min(bytes_max, self._left) + len(end):
                raise S3Error("MaxPostPreDataLengthExceededError")
            more = self._source.read(READ_SIZE)
            if not more:
                raise S3Error("MalformedPOSTRequest")
            self._held += more
        self._left -= at + len(end)
        if at > bytes_max or self._left < 0:
            raise S3Error("MaxPostPreDataLengthExceededError")
        part, self._held = self._held[:at], self._held[at + len(end) :]
        return part


def _header(head: str, name: str) -> str:
    for line in head.split("\r\n"):
        given, _, value = line.partition(":")
        if given.strip().lower() == name:
            return value.strip()
    return ""
