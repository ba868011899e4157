"""What an object server answers."""

from objstore.headers import Backend, Client
from objstore.http.messages import Response
from objstore.object.engine import ObjectInfo
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
    return headers
