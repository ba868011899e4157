"""GET and HEAD: send an object, or say what it is."""

from typing import Final

from objstore.headers import STANDS_FOR_OTHERS, Backend, Client, is_true
from objstore.http.conditional import evaluate, range_applies
from objstore.http.messages import Request, Response
from objstore.http.ranges import ByteRange, ranges_of
from objstore.object.engine import Missing, ObjectInfo, StoredObject
from objstore.object.requests import ignores_expiry, version_of
from objstore.object.responses import expired, no_data, object_headers, plain
from objstore.object.service import ObjectService
from objstore.timestamps import Timestamp

# Up to this size a body is read and verified before its first byte leaves, and leaves with its head.
WHOLE_BYTES_MAX: Final = 64 * 1024
IDENTIFYING: Final = (Client.ETAG, Client.LAST_MODIFIED, Client.TIMESTAMP, Client.ACCEPT_RANGES)


def get_object(service: ObjectService, request: Request) -> Response:
    """200, or 206 for one range; 304, 404, 412, 416. Several ranges get the whole: proxies ask for each by itself."""
    stored = _readable(service, request, WHOLE_BYTES_MAX)
    if isinstance(stored, Response):
        return stored
    headers = object_headers(stored.info)
    refusal = _precondition(request, stored, headers)
    if refusal is not None:
        return refusal
    size = stored.info.data.size
    status, chosen = 200, ByteRange(0, size - 1)
    asked = request.header(Client.RANGE)
    if (
        asked is not None
        and range_applies(request.header, headers[Client.ETAG], headers[Client.LAST_MODIFIED])
        and not _is_weighed_by_reader(request, stored.info)
    ):
        ranges = ranges_of(asked, size)
        if ranges == []:
            stored.close()
            return _unsatisfiable(headers, size)
        if ranges is not None and len(ranges) == 1:
            status, chosen = 206, ranges[0]
            headers[Client.CONTENT_RANGE] = chosen.content_range(size)
    start, stop = chosen.first, chosen.last + 1
    if size > WHOLE_BYTES_MAX:
        return Response(status, headers, stored.stream(start, stop))
    body = stored.read()
    return Response(status, headers, body if status == 200 else body[start:stop])


def head_object(service: ObjectService, request: Request) -> Response:
    """200; 304, 404, 412. The body is not read."""
    stored = _readable(service, request)
    if isinstance(stored, Response):
        return stored
    headers = object_headers(stored.info)
    refusal = _precondition(request, stored, headers)
    if refusal is not None:
        return refusal
    stored.close()
    if Client.DELETE_AT in stored.info.headers and service.expired(stored):
        headers[Backend.EXPIRED] = "true"
    headers[Client.CONTENT_LENGTH] = str(stored.info.data.size)
    return Response(200, headers)


def _readable(service: ObjectService, request: Request, read_max: int = 0) -> StoredObject | Response:
    """The object, opened, or the 404; a body of up to `read_max` bytes will be read."""
    target = service.target(request)
    stored = target.storage.open(target.location, read_max=read_max, version=version_of(request))
    if isinstance(stored, Missing):
        return no_data(stored)
    if Client.DELETE_AT in stored.info.headers and service.expired(stored) and not ignores_expiry(request):
        stored.close()
        return expired(stored.info)
    return stored


def _precondition(request: Request, stored: StoredObject, headers: dict[str, str]) -> Response | None:
    """What answers instead of the object; it is closed then."""
    info = stored.info
    modified = Timestamp.parse(info.timestamp).ceil_seconds
    status = evaluate(request.header, info.data.etag, modified)
    if status is None or _is_weighed_by_reader(request, info):
        return None
    stored.close()
    if status == 304:
        return Response(304, headers)
    return _refusal(412, "Precondition Failed", headers)


def _is_weighed_by_reader(request: Request, info: ObjectInfo) -> bool:
    """Whether the object is a link or a manifest: conditions and ranges are about what it stands for.

    Such an object is sent whole, unless the reader wants it as it is stored.
    """
    if STANDS_FOR_OTHERS.isdisjoint(info.headers) and STANDS_FOR_OTHERS.isdisjoint(info.data.sysmeta):
        return False
    return not is_true(request.header(Backend.AS_STORED))


def _unsatisfiable(headers: dict[str, str], size: int) -> Response:
    response = _refusal(416, "Requested Range Not Satisfiable", headers)
    response.headers[Client.CONTENT_RANGE] = f"bytes */{size}"
    return response


def _refusal(status: int, reason: str, headers: dict[str, str]) -> Response:
    """Not the object as it was asked for, but which one it is, so that the client can ask better."""
    response = plain(status, reason, headers[Backend.TIMESTAMP])
    for name in IDENTIFYING:
        response.headers[name] = headers[name]
    return response
