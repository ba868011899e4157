"""What is stored with an object: its headers, its type, and when it expires. Pure."""

from __future__ import annotations

import mimetypes
import re
from typing import Final

from objstore.headers import Client, Sysmeta, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import title_of, variable_of
from objstore.limits import Limits, check_metadata, is_utf8
from objstore.paths import ResourcePath
from objstore.proxy.swift.request import SwiftRequest

FAMILIES: Final = (Client.OBJECT_META_PREFIX, Sysmeta.OBJECT_PREFIX, Sysmeta.OBJECT_TRANSIENT_PREFIX)
ALLOWED: Final = (
    Client.CONTENT_DISPOSITION,
    Client.CONTENT_ENCODING,
    Client.OBJECT_MANIFEST,
    Client.CACHE_CONTROL,
    Client.CONTENT_LANGUAGE,
    Client.EXPIRES,
    Client.ROBOTS_TAG,
)
ALLOWED_VARIABLES: Final = tuple((variable_of(name), name) for name in ALLOWED)
UNKNOWN_TYPE: Final = "application/octet-stream"
# What the parameters begin with that the store itself adds to a type, to tell containers what to list.
OWN_PARAMETERS: Final = "swift_"
# Either a quoted string, which stays, or such a parameter. A string that is never closed is none: containers look for
# the parameter at the end of the type.
_OWN_OR_QUOTED: Final = re.compile(rf'("[^"]*")|;\s*{OWN_PARAMETERS}(?:[^;"]|"[^"]*"|")*')

EXPIRING_ACCOUNT: Final = ".expiring_objects"
EXPIRING_CONTAINER_SECONDS: Final = 86_400
EXPIRING_CONTAINERS_PER_DAY: Final = 100
DELETE_AT_MAX: Final = 9_999_999_999


def stored_headers(request: SwiftRequest, limits: Limits) -> dict[str, str]:
    """Metadata, and headers that are given back. Raises HttpError 400."""
    found: dict[str, str] = {}
    environ = request.environ
    for variable, value in environ.items():
        if variable.startswith("HTTP_X_OBJECT_"):
            name = title_of(variable)
            if name.startswith(FAMILIES):
                found[name] = value
    if found:
        check_metadata(limits, Client.OBJECT_META_PREFIX, found, text_only=False)
    for variable, name in ALLOWED_VARIABLES:
        if variable in environ:
            found[name] = environ[variable]
    return found


def content_type(request: SwiftRequest, name: str) -> str:
    """The type that is given or, without one or when asked to, the one that the name suggests.

    Without the parameters that are the store's own: a client's would make listings lie about sizes.
    Raises HttpError 400 for one that is not UTF-8, which no listing could show.
    """
    given: str | None = request.environ.get("CONTENT_TYPE")
    if given and not is_utf8(given):
        raise HttpError(400, f"{Client.CONTENT_TYPE} must be valid UTF-8")
    if given and OWN_PARAMETERS in given:
        given = _OWN_OR_QUOTED.sub(r"\1", given).strip()
    if given and not is_true(request.environ.get("HTTP_X_DETECT_CONTENT_TYPE")):
        return given
    return mimetypes.guess_type(name, strict=False)[0] or UNKNOWN_TYPE


def delete_at(request: SwiftRequest, now_seconds: float) -> int | None:
    """When the object expires, in seconds since the epoch; None if never. Raises HttpError 400."""
    environ = request.environ
    after = environ.get("HTTP_X_DELETE_AFTER")
    if after is not None:
        moment = int(now_seconds) + _seconds(after, Client.DELETE_AFTER)
        header = Client.DELETE_AFTER
    else:
        at = environ.get("HTTP_X_DELETE_AT")
        if at is None or is_true(environ.get("HTTP_X_REMOVE_DELETE_AT")):
            return None
        moment = _seconds(at, Client.DELETE_AT)
        header = Client.DELETE_AT
    if moment <= now_seconds:
        raise HttpError(400, f"{header} in past")
    return min(moment, DELETE_AT_MAX)


def _seconds(text: str, header: str) -> int:
    digits = text.strip()
    if digits.startswith("-") and digits[1:].isdecimal():
        raise HttpError(400, f"{header} in past")
    if not (digits.isascii() and digits.isdecimal()):
        raise HttpError(400, f"Non-integer {header}")
    # Measured first: int() takes long over thousands of digits.
    return int(digits) if len(digits) <= 18 else DELETE_AT_MAX


def expiring_container(moment: int, digest: bytes) -> ResourcePath:
    """The queue that tells the expirer of an object: one of a hundred of the day, by the hash of its path."""
    day = moment // EXPIRING_CONTAINER_SECONDS * EXPIRING_CONTAINER_SECONDS
    number = day - int.from_bytes(digest, "big") % EXPIRING_CONTAINERS_PER_DAY
    return ResourcePath(EXPIRING_ACCOUNT, f"{max(number, 0):010d}")
