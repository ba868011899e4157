"""Bulk deletion: DELETE or POST with ?bulk-delete and a list of names in the account, percent-quoted, one a line.

A name is /CONTAINER/OBJECT or, of a container that is empty by then, /CONTAINER. Containers go after the objects.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import unquote_to_bytes

from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import InvalidText, text_of
from objstore.paths import ResourcePath
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.swift.handlers.bulk import PROBLEMS_MAX, answer
from objstore.proxy.swift.handlers.deletions import (
    Delete,
    DeletionReport,
    delete_each,
    delete_one,
)
from objstore.proxy.swift.request import SwiftRequest

PARAMETER: Final = "bulk-delete"
DELETES_MAX: Final = 10_000
# In /info.
BULK_DELETE_SECTION: Final = {"max_deletes_per_request": DELETES_MAX, "max_failed_deletes": PROBLEMS_MAX}
_READ_BYTES: Final = 65536


class BulkDelete:
    """Deletes what a client lists. `delete_object` and `delete_container` answer the DELETE of one."""

    def __init__(self, context: ProxyContext, delete_object: Delete, delete_container: Delete) -> None:
        self._log = context.runtime.log
        limits = context.cluster.limits
        self._line_max = 3 * (limits.max_container_name_length + limits.max_object_name_length) + 4
        self._delete_object = delete_object
        self._delete_container = delete_container

    def or_else(self, handler: Callable[[SwiftRequest], Response]) -> Callable[[SwiftRequest], Response]:
        """Answers bulk deletions, and leaves other requests to `handler`."""

        def handle(request: SwiftRequest) -> Response:
            wanted = request.environ["QUERY_STRING"] and PARAMETER in request.params
            return self(request) if wanted else handler(request)

        return handle

    def __call__(self, request: SwiftRequest) -> Response:
        """200 and a report."""
        if request.content_length is None and not request.chunked:
            raise HttpError(411, "Missing Content-Length header.")
        return answer(request, self._log, DeletionReport(), partial(self._delete_all, request))

    def _delete_all(self, request: SwiftRequest, told: DeletionReport) -> None:
        account = request.storage_resource.account
        objects: dict[ResourcePath, None] = {}
        containers: dict[ResourcePath, None] = {}
        lines = self._lines(request)
        if not lines:
            raise HttpError(400, "Invalid bulk delete.")
        for line in lines:
            path = _path_of(account, line)
            if path is None:
                told.problems.append((line, "412 Precondition Failed"))
            else:
                (objects if path.object else containers)[path] = None
        delete_each(request, list(objects), self._delete_object, told)
        for path in containers:
            delete_one(request, path, self._delete_container, told)

    def _lines(self, request: SwiftRequest) -> list[str]:
        """The names that are listed. Raises HttpError 413."""
        lines: list[str] = []
        rest = b""
        while chunk := request.body.read(_READ_BYTES):
            *whole, rest = (rest + chunk).split(b"\n")
            lines += [line.strip().decode("latin-1") for line in whole if line.strip()]
            if len(lines) > DELETES_MAX:
                raise HttpError(413, f"Maximum Bulk Deletes: {DELETES_MAX} per request")
            if max(map(len, lines), default=0) > self._line_max or len(rest) > self._line_max:
                raise HttpError(413, "A name is too long")
        return [*lines, rest.strip().decode("latin-1")] if rest.strip() else lines


def _path_of(account: str, line: str) -> ResourcePath | None:
    """What a line names; None if nothing can have that name."""
    try:
        name = text_of(unquote_to_bytes(line.encode("latin-1")).decode("latin-1"))
    except InvalidText:
        return None
    container, _, object_name = name.removeprefix("/").partition("/")
    return ResourcePath(account, container, object_name) if container else None
