"""DELETE ?multipart-manifest=delete: a static large object goes together with its segments.

The answer is a report of what was deleted. Segments go first, and the manifest last: if one of them cannot be deleted,
the manifest stays, so that the request can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.errors import StoreError
from objstore.headers import Client, Sysmeta, is_true
from objstore.http.errors import REASONS, HttpError
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import PartSource
from objstore.proxy.core.composite_body import DEPTH_MAX, read_manifest
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.core.manifest import Part, is_composite
from objstore.proxy.swift import errors, reports
from objstore.proxy.swift.features.heartbeat import Heartbeat
from objstore.proxy.swift.handlers.object import VERSION_ID, authorize
from objstore.proxy.swift.reports import Problem
from objstore.proxy.swift.request import SwiftRequest
from objstore.system import concurrency

if TYPE_CHECKING:
    from objstore.proxy.core.lookup import Lookup

CONCURRENCY: Final = 2
UPLOAD: Final = Sysmeta.UPLOAD.removeprefix(Sysmeta.OBJECT_PREFIX)

Delete = Callable[[SwiftRequest, ResourcePath], Response]


class DeletionReport(Struct):
    """What has become of the objects that were to be deleted."""

    deleted: int = 0
    not_found: int = 0
    problems: list[Problem] = []

    @property
    def status(self) -> int:
        """Of the work as a whole."""
        if self.problems:
            return 401 if any(reason.startswith("401") for _, reason in self.problems) else 400
        return 404 if self.not_found and not self.deleted else 200

    def rendered(self, content_type: str) -> bytes:
        """What a client is told."""
        fields: dict[str, str | int] = {
            "Number Deleted": self.deleted,
            "Number Not Found": self.not_found,
            "Response Body": "",
            "Response Status": f"{self.status} {REASONS[self.status]}",
        }
        return reports.report(content_type, "delete", fields, self.problems)


class ManifestDelete:
    """Deletes manifests with what they name. `delete` does what a DELETE of one object does."""

    def __init__(self, context: ProxyContext, delete: Delete) -> None:
        self._objects = context.objects
        self._lookup: Lookup = context.lookup
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
        content_type = reports.report_type(request)
        work = partial(self._report, request, path, content_type)
        return Response(200, {Client.CONTENT_TYPE: f"{content_type}; charset=utf-8"}, Heartbeat(work))

    def _report(self, request: SwiftRequest, path: ResourcePath, content_type: str) -> bytes:
        tally = DeletionReport(problems=[])
        try:
            self._delete_all(request, path, tally)
        except Exception as error:
            if not errors.is_foreseen(error):
                self._log.exception("unforeseen error", trans_id=request.transaction_id, path=request.path)
            _count(tally, path, error)
        return tally.rendered(content_type)

    def _delete_all(self, request: SwiftRequest, path: ResourcePath, tally: DeletionReport) -> None:
        source = self._source(request)
        opened = source.open(path, newest=True)
        if not is_composite(opened.info):
            opened.close()
            tally.problems.append((_name(path), "Not an SLO manifest"))
            return
        owns_parts = UPLOAD in opened.info.metadata.system  # those go by themselves
        _, parts = read_manifest(path, opened)
        segments = iter([] if owns_parts else list(self._segments(source, path, parts, {path}, 1, tally)))
        tasks = [concurrency.spawn(self._delete_each, request, segments, tally) for _ in range(CONCURRENCY)]
        try:
            for task in tasks:
                task.wait()
        finally:
            for task in tasks:
                task.kill()
        if not tally.problems:
            self._delete_one(request, path, tally)

    def _segments(
        self,
        source: PartSource,
        path: ResourcePath,
        parts: list[Part],
        seen: set[ResourcePath],
        depth: int,
        tally: DeletionReport,
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
                        yield from self._segments(source, found, inner, seen, depth + 1, tally)
                    else:
                        opened.close()
                except StoreError as error:
                    _count(tally, found, error)
                    continue
            yield found

    def _delete_each(self, request: SwiftRequest, segments: Iterator[ResourcePath], tally: DeletionReport) -> None:
        for path in segments:
            self._delete_one(request, path, tally)

    def _delete_one(self, request: SwiftRequest, path: ResourcePath, tally: DeletionReport) -> None:
        try:
            self._delete(request, path)
            tally.deleted += 1
        except StoreError as error:
            if not errors.is_foreseen(error):
                raise
            _count(tally, path, error)

    def _delete_later(self, request: SwiftRequest, path: ResourcePath) -> Response:
        """The manifest now, its segments by the expirer."""
        opened = self._source(request).open(path, newest=True)
        if not is_composite(opened.info):
            opened.close()
            raise HttpError(400, "Not an SLO manifest")
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
        self._objects.delete_later(path, segments, request.timestamp(self._clock), request.transaction_id)
        return self._delete(request, path)

    def _source(self, request: SwiftRequest) -> PartSource:
        def may_read(path: ResourcePath, container: ContainerInfo) -> None:
            authorize(request, container, path, container.read_acl, "GET")

        return PartSource(self._objects, self._lookup, request.transaction_id, may_read)


def _name(path: ResourcePath) -> str:
    return f"/{path.container}/{path.object}"


def _count(tally: DeletionReport, path: ResourcePath, error: Exception) -> None:
    status = errors.refusal_of(error).status
    if status == 404:
        tally.not_found += 1
    else:
        tally.problems.append((_name(path), f"{status} {REASONS.get(status, 'Unknown')}"))
