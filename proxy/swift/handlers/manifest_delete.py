"""DELETE ?multipart-manifest=delete: a static large object goes together with its segments.

The answer is a report of what was deleted. Segments go first, and the manifest last: if one of them cannot be deleted,
the manifest stays, so that the request can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from objstore.errors import StoreError
from objstore.headers import is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import PartSource
from objstore.proxy.core.composite_body import DEPTH_MAX, read_manifest
from objstore.proxy.core.conditions import check_conditions
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.manifest import UPLOAD, Part, is_composite
from objstore.proxy.core.objects import OpenedObject
from objstore.proxy.swift.handlers.bulk import answer
from objstore.proxy.swift.handlers.deletions import (
    Delete,
    DeletionReport,
    delete_each,
    delete_one,
    name_of,
)
from objstore.proxy.swift.handlers.dynamic_large_objects import rights_of
from objstore.proxy.swift.handlers.object import CONDITIONS, VERSION_ID, authorize, write_conditions
from objstore.proxy.swift.request import SwiftRequest


class ManifestDelete:
    """Deletes manifests with what they name. `delete` answers the DELETE of one object."""

    def __init__(self, context: ProxyContext, delete: Delete) -> None:
        self._objects = context.objects
        self._lookup = context.lookup
        self._log = context.runtime.log
        self._clock = context.runtime.clock
        self._delete = delete

    def __call__(self, request: SwiftRequest) -> Response:
        """200 and a report; with async=on 204, 400."""
        path = request.storage_resource
        if VERSION_ID in request.params:
            raise HttpError(400, "Segments are deleted with the current version of a manifest only")
        if is_true(request.params.get("async")):
            return self._delete_later(request, path)
        return answer(request, self._log, DeletionReport(), partial(self._delete_all, request, path))

    def _delete_all(self, request: SwiftRequest, path: ResourcePath, told: DeletionReport) -> None:
        source = self._source(request)
        try:
            opened = self._open(request, source, path)
        except StoreError as error:
            told.count(path, error)
            return
        if not is_composite(opened.info):
            opened.close()
            told.problems.append((name_of(path), "Not an SLO manifest"))
            return
        owns_parts = UPLOAD in opened.info.metadata.system  # those go by themselves
        _, parts = read_manifest(path, opened)
        segments = [] if owns_parts else list(self._segments(source, path, parts, {path}, 1, told))
        delete_each(request, segments, self._delete, told)
        if not told.problems:
            delete_one(request, path, partial(self._delete_manifest, request), told)

    def _open(self, request: SwiftRequest, source: PartSource, path: ResourcePath) -> OpenedObject:
        """The object that is to be deleted. Raises CoreError, also when the request's conditions do not hold for it."""
        opened = source.open(path, newest=True)
        with ExitStack() as undo:
            undo.callback(opened.close)
            check_conditions(write_conditions(request), opened.info)
            undo.pop_all()
        return opened

    def _segments(
        self,
        source: PartSource,
        path: ResourcePath,
        parts: list[Part],
        seen: set[ResourcePath],
        depth: int,
        told: DeletionReport,
    ) -> Iterator[ResourcePath]:
        """Every object that the parts name, once; those of a manifest before itself."""
        for part in parts:
            if not part.path or (found := part.location(path.account)) in seen:
                continue
            seen.add(found)
            if part.is_manifest and depth < DEPTH_MAX:
                try:
                    opened = source.open(found, newest=True)
                    if is_composite(opened.info):
                        inner = read_manifest(found, opened)[1]
                        yield from self._segments(source, found, inner, seen, depth + 1, told)
                    else:
                        opened.close()
                except StoreError as error:
                    told.count(found, error)
                    continue
            yield found

    def _delete_later(self, request: SwiftRequest, path: ResourcePath) -> Response:
        """The manifest now, its segments by the expirer."""
        opened = self._open(request, self._source(request), path)
        if not is_composite(opened.info):
            opened.close()
            raise HttpError(400, "Not an SLO manifest")
        if UPLOAD in opened.info.metadata.system:  # its parts go by themselves
            opened.close()
            return self._delete_manifest(request, request.derived("DELETE", path))
        _, parts = read_manifest(path, opened)
        if any(part.is_manifest for part in parts):
            raise HttpError(400, "No segments may be large objects.")
        segments = list(dict.fromkeys(part.location(path.account) for part in parts if part.path))
        containers = sorted({segment.container for segment in segments})
        if len(containers) > 1:
            raise HttpError(400, f"All segments must be in one container. Found segments in {', '.join(containers)}")
        for container_path in (segments[0], path):
            container = self._lookup.container(container_path, request.transaction_id)
            authorize(request, container, container_path, container.write_acl)
            if container.versioning:
                raise HttpError(400, "Where versions are kept nothing is deleted later")
        self._objects.delete_later(path, segments, request.timestamp(self._clock), request.transaction_id)
        return self._delete_manifest(request, request.derived("DELETE", path))

    def _delete_manifest(self, request: SwiftRequest, deletion: SwiftRequest) -> Response:
        """The manifest alone goes by the conditions of the request."""
        environ = request.environ
        deletion.environ |= {variable: environ[variable] for variable in CONDITIONS if variable in environ}
        return self._delete(deletion)

    def _source(self, request: SwiftRequest) -> PartSource:
        return PartSource(self._objects, self._lookup, request.transaction_id, rights_of(request))
