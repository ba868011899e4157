"""What an object server answers."""

from objstore.headers import Backend, Client
from objstore.http.messages import Response
from objstore.object.engine import Missing, ObjectInfo
from objstore.object.versions import VERSIONS_MAX, Line
from objstore.timestamps import Timestamp


def plain(status: int, reason: str, timestamp: str = "") -> Response:
    """One line of text, and the timestamp of what is stored, if anything is."""
    headers = {Client.CONTENT_TYPE: "text/plain; charset=utf-8"}
    if timestamp:
        headers[Backend.TIMESTAMP] = timestamp
    return Response(status, headers, reason.encode() + b"\n")


def conflict(stored: str) -> Response:
    """409: what is stored is as new or newer."""
    return plain(409, f"Stored already at {stored}", stored)


def not_found(tombstone: str) -> Response:
    """404, with the tombstone's timestamp if there is one."""
    return plain(404, "Not Found", tombstone)


def no_data(line: Line | Missing) -> Response:
    """404 about a version without data; that of a delete marker says so."""
    response = not_found(line.timestamp)
    if line.is_marker:
        response.headers |= marker_headers(line.version)
    return response


def marker_headers(version: str) -> dict[str, str]:
    """What says that a delete marker is meant, and of a kept one which."""
    return {Backend.DELETE_MARKER: "true"} | ({Backend.VERSION_ID: version} if version else {})


def versions_full() -> Response:
    """409: the object has as many versions as it may keep."""
    response = plain(409, f"At most {VERSIONS_MAX} versions of an object")
    response.headers[Backend.VERSIONS_FULL] = "true"
    return response


def locked() -> Response:
    """403: what is stored may be neither removed nor replaced, nor may its lock be made weaker."""
    return plain(403, "Protected by object lock")


def expired(info: ObjectInfo) -> Response:
    """404, with the timestamps of what is still on the disk."""
    response = not_found(info.timestamp)
    response.headers[Backend.DATA_TIMESTAMP] = info.data.timestamp
    return response


def object_headers(info: ObjectInfo) -> dict[str, str]:
    """The headers of GET and HEAD, but those about the body's length."""
    data = info.data
    moment = Timestamp.parse(info.timestamp)
    headers = {
        Client.CONTENT_TYPE: info.content_type,
        Client.ETAG: data.etag,
        Client.LAST_MODIFIED: moment.http_date,
        Client.TIMESTAMP: moment.normal,
        Client.ACCEPT_RANGES: "bytes",
        Backend.TIMESTAMP: info.timestamp,
        Backend.DATA_TIMESTAMP: data.timestamp,
        Backend.DURABLE_TIMESTAMP: data.timestamp,
        **info.headers,
        **data.sysmeta,
    }
    if info.content_type_timestamp > data.timestamp:
        headers[Backend.CONTENT_TYPE_TIMESTAMP] = info.content_type_timestamp
    if info.version:
        headers[Backend.VERSION_ID] = info.version
    if data.fragment is not None:
        headers |= {Backend.FRAGMENT: data.fragment.code, Backend.WHOLE_SIZE: str(data.size)}
    return headers
