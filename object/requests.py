"""What a request to an object server says: which object, when, and what to store with it."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final

from msgspec import Struct

from objstore.headers import Backend, Client, Sysmeta, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.limits import text_of
from objstore.object.engine import DeviceStorage, Location
from objstore.object.file_names import NULL
from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp

# Says how the body is to be read, so it is stored as system metadata is: a POST must not turn a manifest into text.
KEPT_HEADERS: Final = (Client.STATIC_LARGE_OBJECT,)
_FAMILY_PREFIX: Final = "X-Object-"
_REPLACED_PREFIXES: Final = (Client.OBJECT_META_PREFIX, Sysmeta.OBJECT_TRANSIENT_PREFIX)
_INTERNAL: Final = re.compile(r"[0-9]{10}\.[0-9]{5}(?:_(?!0{16})[0-9a-f]{16})?")  # as Timestamp.internal gives it


class VersionMode(Enum):
    """A write adds a version that is kept, or goes to the plain line, from which NULL deletes by a delete marker."""

    PLAIN = ""
    KEEP = "keep"
    NULL = "null"


class Target(Struct, frozen=True, gc=False):
    """The object a request is about, and the name of the device it lies on."""

    device: str
    path: ResourcePath
    storage: DeviceStorage
    location: Location


class StoredHeaders(Struct, gc=False):
    """What of a request's headers is stored: what each POST replaces, and what stays until the next PUT."""

    replaced: dict[str, str]
    kept: dict[str, str]


def address_of(request: Request) -> tuple[str, str, ResourcePath]:
    """Device, partition and object of /device/partition/account/container/object. Raises HttpError 400 and 412."""
    parts = request.path.split("/", 5)
    if len(parts) < 6 or not (parts[3] and parts[4] and parts[5]):
        raise HttpError(400, f"Invalid path: {request.path!r}")
    _, device, partition, account, container, name = parts
    if not (partition.isascii() and partition.isdigit()):
        raise HttpError(400, f"Invalid partition: {partition!r}")
    return device, partition, ResourcePath(text_of(account, True), text_of(container, True), text_of(name, True))


def timestamp_of(request: Request) -> str:
    """X-Timestamp in its internal form; raises HttpError 400."""
    value = request.header(Client.TIMESTAMP)
    if value is None:
        raise HttpError(400, "Missing X-Timestamp header")
    if _INTERNAL.fullmatch(value):
        return value
    try:
        return Timestamp.parse(value).internal
    except ValueError as error:
        raise HttpError(400, f"Bad X-Timestamp header: {error}") from None


def version_of(request: Request) -> str | None:
    """Which version of the object is meant: "" for the plain line, None for the current one. Raises HttpError 400."""
    return parse_version(request.header(Backend.VERSION_ID))


def parse_version(value: str | None) -> str | None:
    """As `version_of`, from the header's value."""
    if value is None or value == NULL:
        return value and ""
    try:
        return Timestamp.parse(value).internal
    except ValueError as error:
        raise HttpError(400, f"Bad {Backend.VERSION_ID}: {error}") from None


def version_mode_of(request: Request) -> VersionMode:
    """What a write does about older versions. Raises HttpError 400."""
    value = request.header(Backend.VERSION_MODE)
    if value is None:
        return VersionMode.PLAIN
    try:
        return VersionMode(value)
    except ValueError:
        raise HttpError(400, f"Bad {Backend.VERSION_MODE}: {value!r}") from None


def stored_headers(request: Request, allowed: Sequence[str]) -> StoredHeaders:
    """User metadata, system metadata and the `allowed` headers of a request. Raises HttpError 400."""
    replaced, kept = sorted_metadata(request.headers_with_prefix(_FAMILY_PREFIX))
    environ_header = request.header
    for name in allowed:
        if value := environ_header(name):
            (kept if name in KEPT_HEADERS else replaced)[name] = value
    if Client.DELETE_AT in replaced:
        delete_at_of(replaced)
    return StoredHeaders(replaced, kept)


def sorted_metadata(headers: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Of any headers, those a POST replaces (user metadata), and system metadata."""
    replaced, kept = {}, {}
    for name, value in headers.items():
        if name.startswith(_REPLACED_PREFIXES):
            replaced[name] = value
        elif name.startswith(Sysmeta.OBJECT_PREFIX):
            kept[name] = value
    return replaced, kept


def delete_at_of(headers: dict[str, str]) -> int | None:
    """When the object expires, in seconds since the epoch; None if never. Raises HttpError 400."""
    value = headers.get(Client.DELETE_AT)
    return None if value is None else parse_delete_at(Client.DELETE_AT, value)


def parse_delete_at(name: str, value: str) -> int:
    """Raises HttpError 400 unless the header is a number of seconds since the epoch."""
    if not (value.isascii() and value.isdigit() and len(value) <= 10):
        raise HttpError(400, f"Non-integer {name}")
    return int(value)


def bypasses_governance(request: Request) -> bool:
    """Whether the sender may weaken a lock under GOVERNANCE."""
    return request.header(Backend.BYPASS_GOVERNANCE) is not None


def ignores_expiry(request: Request) -> bool:
    """Whether the sender wants expired objects, too."""
    header = request.header
    return (
        is_true(header(Backend.REPLICATION))
        or is_true(header(Backend.OPEN_EXPIRED))
        or is_true(header(Client.OPEN_EXPIRED))
    )
