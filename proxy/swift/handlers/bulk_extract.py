"""Uploads of archives: PUT of an account, a container or a prefix with ?extract-archive=tar, tar.gz or tar.bz2.

Each file of the archive becomes an object: below an account the first folder is its container, which is made if it is
not there. Attributes of files that name metadata (user.meta.NAME, user.mime_type) become the object's.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import IO, Any, Final, Literal, Self, cast
from zlib import error as ZlibError

from objstore.errors import StoreError
from objstore.headers import Client
from objstore.http.bodies import ByteStream
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader, Response
from objstore.paths import ResourcePath
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.info import PRESENT
from objstore.proxy.swift import errors
from objstore.proxy.swift.handlers.bulk import PROBLEMS_MAX, BulkReport, answer
from objstore.proxy.swift.handlers.object import EXTRACT_ARCHIVE
from objstore.proxy.swift.request import SwiftRequest

CONTAINERS_MAX: Final = 10_000
# In /info.
BULK_UPLOAD_SECTION: Final = {
    "max_containers_per_extraction": CONTAINERS_MAX,
    "max_failed_extractions": PROBLEMS_MAX,
}
_Mode = Literal["r|", "r|gz", "r|bz2"]
_MODES: Final[dict[str, _Mode]] = {"tar": "r|", "tar.gz": "r|gz", "tar.bz2": "r|bz2"}
_READ_BYTES: Final = 65_536
_ATTRIBUTES: Final = ("SCHILY.xattr.", "LIBARCHIVE.xattr.")
_META: Final = "user.meta."
_TYPE: Final = "user.mime_type"
# Extended headers of one file: names, sizes and attributes.
_HEADER_BYTES_MAX: Final = 65_536
_EXTENDED: Final = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
# As in requests of clients (RFC 9110, section 5.6.2): servers take no other names of headers.
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Handler = Callable[[SwiftRequest], Response]


class ExtractionReport(BulkReport):
    """What has become of the files of an archive."""

    root = "upload"

    created: int = 0

    @property
    def status(self) -> int:
        return self.problem_status or 201

    @property
    def counts(self) -> dict[str, int]:
        return {"Number Files Created": self.created}

    def count(self, name: str, error: StoreError) -> None:
        """Count a file that was refused."""
        status = errors.refusal_of(error).status
        self.add_problem(name, status)
        if status == 401:
            self.refusal = "Unauthorized"
        elif len(self.problems) >= PROBLEMS_MAX:
            self.refusal = "Max failed uploads exceeded"


class BulkExtract:
    """Stores the files of archives. `put_object` and `put_container` answer the PUT of one."""

    def __init__(self, context: ProxyContext, put_object: Handler, put_container: Handler) -> None:
        self._log = context.runtime.log
        self._lookup = context.lookup
        self._put_object = put_object
        self._put_container = put_container

    def or_else(self, handler: Handler) -> Handler:
        """Answers uploads of archives, and leaves other requests to `handler`."""

        def handle(request: SwiftRequest) -> Response:
            wanted = request.environ["QUERY_STRING"] and EXTRACT_ARCHIVE in request.params
            return self(request) if wanted else handler(request)

        return handle

    def __call__(self, request: SwiftRequest) -> Response:
        """200 and a report. Raises HttpError 400, 411."""
        mode = _MODES.get(request.params[EXTRACT_ARCHIVE].lower().strip("."))
        if mode is None:
            raise HttpError(400, "Unsupported archive format")
        if request.content_length is None and not request.chunked:
            raise HttpError(411, "Missing Content-Length header.")
        return answer(request, self._log, ExtractionReport(), partial(self._extract_all, request, mode))

    def _extract_all(self, request: SwiftRequest, mode: _Mode, told: ExtractionReport) -> None:
        made: set[str] = set()
        try:
            with tarfile.open(
                mode=mode, fileobj=cast("IO[bytes]", request.body), bufsize=_READ_BYTES, tarinfo=ArchivedHead
            ) as archive:
                while not told.refusal and (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # it remembers all of them
                    if _size_of(archive.pax_headers) > _HEADER_BYTES_MAX:
                        raise HttpError(400, "Invalid Tar File: its headers are too long")
                    if member.isfile():
                        self._extract(request, archive, member, made, told)
        except (tarfile.TarError, EOFError, OSError, ZlibError, RecursionError) as error:
            raise HttpError(400, f"Invalid Tar File: {error}") from error
        if not told.created and not told.problems:
            raise HttpError(400, "Invalid Tar File: No Valid Files")

    def _extract(
        self,
        request: SwiftRequest,
        archive: tarfile.TarFile,
        member: tarfile.TarInfo,
        made: set[str],
        told: ExtractionReport,
    ) -> None:
        """Store one file."""
        content = archive.extractfile(member)
        name = "/".join(part for part in member.name.split("/") if part not in ("", "."))
        path = _path_in(request.storage_resource, name)
        if content is None or path is None:
            return
        try:
            if _size_of(member.pax_headers) > _HEADER_BYTES_MAX:
                raise HttpError(413)
            name.encode()  # names that are not UTF-8 have surrogates
            self._make_container(request, path, made)
            headers = _headers_of(request, member)
            body = cast("BodyReader", ArchivedFile(content, member.size))
            response = self._put_object(request.derived("PUT", path, headers=headers, body=body))
            told.created += response.status == 201
        except UnicodeEncodeError:
            told.add_problem(name.encode("utf-8", "replace").decode(), 412)
        except StoreError as error:
            if not errors.is_foreseen(error):
                raise
            told.count(f"/{path.container}/{path.object}", error)

    def _make_container(self, request: SwiftRequest, path: ResourcePath, made: set[str]) -> None:
        if path.container in made:
            return
        if self._lookup.container(path, request.transaction_id).existence is not PRESENT:
            if len(made) >= CONTAINERS_MAX:
                raise HttpError(400, f"More than {CONTAINERS_MAX} containers to create from tar.")
            self._put_container(request.derived("PUT", path.container_path))
        made.add(path.container)


class ArchivedHead(tarfile.TarInfo):
    """The head of a file in an archive. An archive that ends without its end mark has been cut off.

    tarfile holds extended headers, and the maps of sparse files, whole: what a few bytes may unpack to is limited here.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """One head. Raises ReadError for what takes too much memory, beside what tarfile handles itself."""
        head = super().frombuf(buf, encoding, errors)
        if head.type == tarfile.GNUTYPE_SPARSE:
            cls._refuse_sparse()
        if head.type in _EXTENDED and head.size > _HEADER_BYTES_MAX:
            raise tarfile.ReadError("an extended header is too long")
        return head

    @staticmethod
    def _refuse_sparse(*_: object) -> None:
        raise tarfile.ReadError("sparse files are not taken")

    # What tarfile calls for sparse files of the three formats of PAX archives.
    _proc_gnusparse_00 = _proc_gnusparse_01 = _proc_gnusparse_10 = _refuse_sparse

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        """The next one. Raises ReadError for an archive that is cut off, beside what tarfile handles itself."""
        try:
            return super().fromtarfile(archive)
        except (tarfile.TruncatedHeaderError, tarfile.EmptyHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError("unexpected end of data") from error


class ArchivedFile(ByteStream):
    """One file of an archive, read as the body of a request."""

    __slots__ = ("_content",)

    def __init__(self, content: IO[bytes], length: int) -> None:
        super().__init__(length)
        self._content = content

    def _advance(self) -> bool:
        if not self._ready:
            self._ready = memoryview(self._content.read(_READ_BYTES))
        return bool(self._ready)


def _path_in(place: ResourcePath, name: str) -> ResourcePath | None:
    """Where a file goes; None if that is no place for an object."""
    if place.object:
        name = f"{place.object.rstrip('/')}/{name}"
    if place.container:
        return ResourcePath(place.account, place.container, name) if name else None
    container, _, rest = name.partition("/")
    return ResourcePath(place.account, container, rest) if container and rest else None


def _size_of(attributes: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in attributes.items())


def _headers_of(request: SwiftRequest, member: tarfile.TarInfo) -> dict[str, str]:
    """The headers of the PUT of one file: its metadata, and when it is to be deleted."""
    headers = {Client.CONTENT_LENGTH: str(member.size)}
    for name in (Client.DELETE_AT, Client.DELETE_AFTER):
        if (value := request.header(name)) is not None:
            headers[name] = value
    attributes: dict[str, Any] = {}
    for key, value in member.pax_headers.items():
        for prefix in _ATTRIBUTES:
            if key.startswith(prefix):
                attributes[key.removeprefix(prefix)] = value
    for key, value in attributes.items():
        text = value.encode("utf-8", "surrogateescape").decode("latin-1")
        if "\r" in text or "\n" in text or "\0" in text:
            raise HttpError(400, "Control character in an attribute")
        if key == _TYPE:
            headers[Client.CONTENT_TYPE] = text
        elif key.startswith(_META):
            name = key.removeprefix(_META)
            if _HEADER_NAME.fullmatch(name) is None:
                raise HttpError(400, "The name of an attribute cannot be that of a header")
            headers[f"{Client.OBJECT_META_PREFIX}{name}"] = text
    return headers
