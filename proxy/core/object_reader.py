"""Objects as clients get them: whole, in one range, or in several."""

from __future__ import annotations

from random import Random
from typing import Final

from objstore.headers import Client
from objstore.http.conditional import range_applies
from objstore.http.local import WholeBody
from objstore.http.messages import Response
from objstore.http.ranges import ByteRange, parse_content_range, parse_ranges, resolve_ranges
from objstore.http.transport import BackendResponse
from objstore.proxy.core.bodies import MultipartBody, ResumingBody, Source
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import GOOD_REFUSALS, Reader


class ObjectReader:
    """GET and HEAD of objects."""

    def __init__(self, reader: Reader, random: Random) -> None:
        self._reader: Final = reader
        self._random: Final = random

    def head(self, place: Placement, headers: dict[str, str], *, newest: bool) -> Response:
        """The object's headers, or a Response of the status that says why not."""
        found = self._reader.read("HEAD", place, headers, newest=newest)
        return Response(found.status, found.headers)

    def get(self, place: Placement, headers: dict[str, str], *, newest: bool) -> Response:
        """The object, or a Response of the status that says why not; bodies that break off go on elsewhere."""
        asked = headers.get(Client.RANGE)
        if asked is not None and "," in asked:
            return self._several(place, headers, asked, newest)
        found = self._reader.read("GET", place, headers, newest=newest)
        body = found.body
        if isinstance(body, WholeBody):
            return Response(found.status, found.headers, body.read())
        return self._streamed(place, headers, found)

    def _streamed(self, place: Placement, headers: dict[str, str], found: BackendResponse) -> Response:
        if found.status in GOOD_REFUSALS:
            return Response(found.status, found.headers, found.read_all())
        length = found.body.length
        if length is None:
            found.close()
            return Response(503)
        wanted = ByteRange(0, length - 1)
        if found.status == 206:
            wanted, _ = parse_content_range(found.headers[Client.CONTENT_RANGE])
        body = ResumingBody(found.body, wanted, Source(self._reader, place, headers, found))
        return Response(found.status, found.headers, body)

    def _several(self, place: Placement, headers: dict[str, str], asked: str, newest: bool) -> Response:
        """Weigh the request by the object's headers, then read range after range of that very object."""
        specs = parse_ranges(asked)
        plain = {name: value for name, value in headers.items() if name != Client.RANGE}
        if specs is None:
            return self.get(place, plain, newest=newest)
        found = self._reader.read("HEAD", place, plain, newest=newest)
        if found.status != 200:
            return Response(found.status, found.headers)
        size = int(found.headers[Client.CONTENT_LENGTH])
        ranges = resolve_ranges(specs, size)
        answer = found.headers
        if not range_applies(headers.get, answer[Client.ETAG], answer[Client.LAST_MODIFIED]):
            return self.get(place, plain, newest=newest)
        source = Source(self._reader, place, headers, found)
        if not ranges:
            del answer[Client.CONTENT_LENGTH]
            answer[Client.CONTENT_RANGE] = f"bytes */{size}"
            return Response(416, answer)
        body: ResumingBody | MultipartBody
        if len(ranges) == 1:
            answer[Client.CONTENT_RANGE] = ranges[0].content_range(size)
            body = ResumingBody(None, ranges[0], source)
        else:
            boundary = f"{self._random.getrandbits(128):032x}"
            content_type = answer.get(Client.CONTENT_TYPE, "application/octet-stream")
            body = MultipartBody(ranges, size, content_type, boundary, source)
            answer[Client.CONTENT_TYPE] = f"multipart/byteranges;boundary={boundary}"
        answer[Client.CONTENT_LENGTH] = str(body.length)
        return Response(206, answer, body)
