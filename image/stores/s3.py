"""Images in a store that speaks S3: each an object of a bucket, uploaded in parts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

from lxml import etree

from objstore.client.connections import ClientResponse, ServerAddress
from objstore.client.errors import BadResponse, ClientError, Conflict, NotFound
from objstore.client.requests import HttpClient, RequestBody
from objstore.image.stores.signing import AwsCredentials, canonical_query
from objstore.image.stores.store import PieceGroups, StoreFailed, reported

PART_BYTES: Final = 24 << 20  # in memory, so that a part can be sent again
PARTS_MAX: Final = 10_000
UPLOADS_MAX: Final = 1000  # what one answer lists


@dataclass
class S3ImageStore:
    """Images in one bucket; PATH of the endpoint's URL comes before the bucket's name. No image has over 234 GiB."""

    name: str
    server: ServerAddress
    bucket: str
    key: AwsCredentials
    http: HttpClient
    part_bytes: int = PART_BYTES
    kind: str = "s3"
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        try:
            self._write(name, PieceGroups(pieces, self.part_bytes))
        except (ClientError, etree.XMLSyntaxError) as error:
            raise StoreFailed(self.name, str(error)) from error

    def _write(self, name: str, groups: PieceGroups) -> None:
        upload = self._texts(self._done("POST", name, {"uploads": ""}), "UploadId")
        if len(upload) != 1:
            raise BadResponse(str(self.server), "the upload has no id")
        parts = []
        for number, group in enumerate(groups, start=1):
            if number > PARTS_MAX:
                raise StoreFailed(self.name, f"the image has more than {PARTS_MAX} parts")
            parts.append(self._part(name, upload[0], number, b"".join(group)))
        if not parts:
            parts.append(self._part(name, upload[0], 1, b""))
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag></Part>"
            for number, etag in enumerate(parts, start=1)
        )
        body = f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()
        answer = self._done("POST", name, {"uploadId": upload[0]}, body)
        if self._texts(answer, "Code"):  # S3 may say 200, and then what went wrong
            raise BadResponse(str(self.server), ", ".join(self._texts(answer, "Code")))

    def _part(self, name: str, upload: str, number: int, content: bytes) -> str:
        query = {"partNumber": str(number), "uploadId": upload}
        with self._request("PUT", name, query, content) as response:
            response.read()
            return response.headers["etag"]

    def read(self, name: str, first: int, count: int) -> Iterator[bytes]:
        return reported(self.name, lambda: self._chunks(name, first, count))

    def _chunks(self, name: str, first: int, count: int) -> Iterator[bytes]:
        if not count:
            return
        with self._request("GET", name, headers={"Range": f"bytes={first}-{first + count - 1}"}) as response:
            if response.status != 206:
                raise BadResponse(str(self.server), "the range was ignored")
            yield from response.chunks()

    def discard(self, name: str) -> None:
        try:
            uploads = self._done("GET", "", {"uploads": "", "prefix": name, "max-uploads": str(UPLOADS_MAX)})
            for upload in self._texts(uploads, "UploadId"):
                self._done("DELETE", name, {"uploadId": upload}, accept={404})
            self._done("DELETE", name, accept={404})
        except (NotFound, Conflict):
            pass
        except (ClientError, etree.XMLSyntaxError) as error:
            raise StoreFailed(self.name, str(error)) from error

    def _done(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        accept: Collection[int] = (),
    ) -> bytes:
        with self._request(method, name, query, body, accept=accept) as response:
            return response.read()

    def _request(
        self,
        method: str,
        name: str,
        query: dict[str, str] | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> ClientResponse:
        path = "/" + quote(f"{self.bucket}/{name}" if name else self.bucket, safe="/-_.~")
        default = 443 if self.server.tls else 80
        host = self.server.host if self.server.port == default else str(self.server)
        signed = self.key.headers(method, host, path, query or {}, self.now())
        target = f"{path}?{canonical_query(query)}" if query else path
        sent = {**(headers or {}), **signed}
        return self.http.request(
            self.server,
            method,
            target,
            headers=sent,
            body=None if body is None else RequestBody(body),
            accept=accept,
        )

    @staticmethod
    def _texts(document: bytes, tag: str) -> list[str]:
        """What stands in the elements of this name, whatever their namespace. Raises XMLSyntaxError."""
        parser = etree.XMLParser(resolve_entities=False, no_network=True)
        root = etree.fromstring(document, parser)
        return [each.text or "" for each in root.iter("{*}" + tag)]
