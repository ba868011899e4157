"""What a request to a container or account server says, besides its query."""

from __future__ import annotations

from objstore.headers import Backend, Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.limits import Limits, check_path, text_of
from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp


def allows_reserved(request: Request) -> bool:
    """Whether names that begin with NUL may be used and are listed."""
    return is_true(request.header(Backend.ALLOW_RESERVED_NAMES))


def timestamp_of(request: Request) -> str:
    """When the write happened, in the internal form. Raises HttpError 400."""
    text = request.header(Client.TIMESTAMP)
    if text is None:
        raise HttpError(400, "Missing X-Timestamp header")
    try:
        return Timestamp.parse(text).internal
    except ValueError:
        raise HttpError(400, f"Invalid X-Timestamp header {text[:40]!r}") from None


def policy_index_of(request: Request, header: str) -> int | None:
    """The policy a header names by its index, None without the header. Raises HttpError 400."""
    text = request.header(header)
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise HttpError(400, f"Invalid {header} {text[:40]!r}")
    return int(text)


def split_path(request: Request, limits: Limits, parts: int, kind: str) -> tuple[str, str, ResourcePath]:
    """Device, partition and resource of /device/partition/account[/container]; `parts` of these must be there.

    Raises HttpError 400, or 412 if the path is not UTF-8.
    """
    found = text_of(request.path, allow_nul=True).split("/", parts)
    if len(found) != parts + 1 or found[0] or not all(found[1:]):
        raise HttpError(400, f"The path does not name one {kind}")
    path = ResourcePath(*found[3:])
    check_path(limits, path)
    last = path.container or path.account
    # Rows are taken for resources that exist, however they came to be.
    if last[0] == "\0" and request.method not in ("UPDATE", "REPLICATE") and not allows_reserved(request):
        raise HttpError(400, "Reserved names are for internal use")
    if "\0" in last[1:] and last[0] != "\0":
        raise HttpError(412, "Invalid UTF8 or contains NULL")
    return found[1], found[2], path
