"""HTML forms with a file (multipart/form-data, RFC 7578): fields first, then the file, which streams.

https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.http.bodies import ByteStream
from objstore.http.multipart import HEAD_BYTES_MAX, READ_SIZE, BadMultipart, FormPart, Multipart, TooLongInMultipart
from objstore.proxy.s3.errors import S3Error

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader

FIELDS_BYTES_MAX: Final = 20_480
FIELDS_MAX: Final = 200
# Fields behind the file mean nothing; only so much of them is read.
REST_BYTES_MAX: Final = 65_536
FILE: Final = "file"


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

    __slots__ = ("_ended", "_form", "_length_max", "_length_min", "_part", "_total")

    def __init__(self, form: Multipart, part: FormPart) -> None:
        super().__init__(None)
        self._form = form
        self._part = part
        self._ended = False
        self._total = 0
        self._length_min = 0
        self._length_max: int | None = None

    def limit(self, length_min: int, length_max: int | None) -> None:
        """Refuse a file that is shorter or longer."""
        self._length_min, self._length_max = length_min, length_max

    def _advance(self) -> bool:
        if self._ready:
            return True
        if self._ended:
            return False
        with _malformed():
            piece = self._part.read(READ_SIZE)
            if not piece:
                self._form.finish(REST_BYTES_MAX)
        self._total += len(piece)
        if self._length_max is not None and self._total > self._length_max:
            raise S3Error("EntityTooLarge", ProposedSize=self._total, MaxSizeAllowed=self._length_max)
        if not piece and self._total < self._length_min:
            raise S3Error("EntityTooSmall", ProposedSize=self._total, MinSizeAllowed=self._length_min)
        self._ended = not piece
        self._ready = memoryview(piece)
        return bool(piece)


def read_form(source: BodyReader, content_type: str) -> PostedForm:
    """The fields of a form up to its file, which is read later. Raises S3Error."""
    try:
        form = Multipart(source, content_type)
    except BadMultipart as error:
        reason = "Bucket POST must be of the enclosure-type multipart/form-data"
        raise S3Error("PreconditionFailed", Condition=reason) from error
    fields: dict[str, str] = {}
    left = FIELDS_BYTES_MAX + HEAD_BYTES_MAX
    with _malformed("MaxPostPreDataLengthExceededError"):
        while (part := form.next()) is not None:
            name = part.name.lower()
            if name == FILE:
                filename = re.split(r"[/\\]", part.filename or "")[-1]
                expanded = {field: value.replace("${filename}", filename) for field, value in fields.items()}
                return PostedForm(expanded, PostedFile(form, part), filename, part.content_type)
            value = part.text(FIELDS_BYTES_MAX)
            left -= len(name) + len(value)
            if left < 0 or len(fields) >= FIELDS_MAX:
                raise S3Error("MaxPostPreDataLengthExceededError")
            fields.setdefault(name, value)
    raise S3Error("IncorrectNumberOfFilesInPostRequest")


@contextmanager
def _malformed(too_long: str = "MalformedPOSTRequest") -> Iterator[None]:
    """Raises S3Error for what is no form; its code if something in it is too long is `too_long`."""
    try:
        yield
    except TooLongInMultipart as error:
        raise S3Error(too_long) from error
    except BadMultipart as error:
        raise S3Error("MalformedPOSTRequest") from error
