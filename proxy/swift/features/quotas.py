"""Values of quotas, and the question whether an upload fits."""

from __future__ import annotations

from typing import Final

from objstore.http.errors import HttpError
from objstore.proxy.swift.request import SwiftRequest

EXCEEDED: Final = "Upload exceeds quota."
# More digits than any store holds bytes; int() takes long over thousands of them.
DIGITS_MAX: Final = 18


def parse_quota(text: str | None) -> int | None:
    """A stored quota; None where there is none, or nothing that can be read as one."""
    return int(text) if text and is_quota(text) else None


def is_quota(text: str) -> bool:
    """Whether a client may set this: a whole number."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


def exceeds(quota: int | None, used: int, more: int) -> bool:
    """Whether `more` would go beyond. Figures of use lag behind, so quotas are soft."""
    return quota is not None and used + more > quota


def upload_size(request: SwiftRequest) -> int:
    """The bytes a PUT announces; 0 for a chunked one, which `leave_room` stops where the quota is used up."""
    return request.content_length or 0


def leave_room(request: SwiftRequest, quota: int | None, used: int) -> None:
    """Let a body of unknown length become no longer than what is left of a quota."""
    if quota is not None and request.chunked:
        request.length_max = min(request.length_max, max(quota - used, 0))


def refuse(request: SwiftRequest, write_acl: str | None) -> HttpError:
    """What to raise when a quota is exceeded. Who may not write at all learns only that: raises HttpError 401, 403."""
    if request.authorize is not None:
        request.acl = write_acl
        request.authorize(request)
    return HttpError(413, EXCEEDED)
