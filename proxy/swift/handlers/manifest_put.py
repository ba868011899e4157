"""PUT ?multipart-manifest=put: a static large object is made of segments that are there, each looked at first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from hashlib import md5
from typing import TYPE_CHECKING, Final

import msgspec

from objstore.errors import StoreError
from objstore.headers import Client, Sysmeta, is_true
from objstore.http.bodies import BytesBody
from objstore.http.errors import REASONS, HttpError
from objstore.http.messages import Response, variable_of
from objstore.limits import check_path
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import PartSource
from objstore.proxy.core.composite_body import read_manifest
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.info import StoredMetadata
from objstore.proxy.core.manifest import COMPOSITE_ETAG, LISTED_ETAG, Part, encode_manifest, manifest_metadata
from objstore.proxy.core.objects import OpenedObject
from objstore.proxy.core.parallel import for_each
from objstore.proxy.swift import errors, reports
from objstore.proxy.swift.features import heartbeat
from objstore.proxy.swift.handlers.dynamic_large_objects import quoted_etag
from objstore.proxy.swift.handlers.manifest_input import (
    MANIFEST_BYTES_MAX,
    Segment,
    data_part,
    etag_of,
    object_part,
    parse_segments,
    segments_of,
)
from objstore.proxy.swift.handlers.object import STATIC_LARGE_OBJECT, authorize
from objstore.proxy.swift.reports import Problem
from objstore.proxy.swift.request import SwiftRequest
from objstore.rows import etag_with_fields

if TYPE_CHECKING:
    from objstore.proxy.swift.handlers.static_large_objects import StaticLargeObjects

CONCURRENCY: Final = 2
# Clients of the API know this text.
ANOTHER_ETAG: Final = "Unprocessable Entity\nUnable to process the contained instructions"
_READ_BYTES: Final = 65536


class SegmentProblems(Response):
    """400, with a list of the segments that are not as the manifest says."""

    __slots__ = ("problems",)

    def __init__(self, request: SwiftRequest, problems: Sequence[Problem]) -> None:
        content_type = reports.report_type(request)
        body = reports.report(content_type, "upload", {}, problems)
        super().__init__(400, {Client.CONTENT_TYPE: f"{content_type}; charset=utf-8"}, body)
        self.problems = problems


class ManifestPut:
    """Stores manifests. `store` does what a PUT of any object does, with the request that it is given."""

    def __init__(
        self, context: ProxyContext, reader: StaticLargeObjects, store: Callable[[SwiftRequest], Response]
    ) -> None:
        self._lookup = context.lookup
        self._limits = context.cluster.limits
        self._log = context.runtime.log
        self._reader = reader
        self._store = store

    def __call__(self, request: SwiftRequest) -> Response:
        """201, 400 with a list of what is wrong with which segment, 413, 422, and what PUT answers."""
        path = request.storage_resource
        check_path(self._limits, path)
        container = self._lookup.container(path, request.transaction_id)
        authorize(request, container, path, container.write_acl)
        segments = parse_segments(whole_manifest(request), path)
        work = partial(self._put, request, path, segments)
        if is_true(request.params.get("heartbeat")):
            return heartbeat.answer(request, partial(errors.guarded, self._log, request, work))
        return work()

    def _put(self, request: SwiftRequest, path: ResourcePath, segments: Sequence[Segment]) -> Response:
        parts, problems = examined(segments, path.account, self._reader.source(request))
        if problems:
            return SegmentProblems(request, problems)
        content = encode_manifest(parts)
        system = stored_with(StoredMetadata(), parts, content).system
        etag, environ = system[COMPOSITE_ETAG], request.environ
        expected = environ.pop("HTTP_ETAG", "").strip().strip('"').lower()
        if expected and expected != etag:
            raise HttpError(422, ANOTHER_ETAG)
        for name, value in system.items():
            environ[variable_of(Sysmeta.OBJECT_PREFIX + name)] = value
        environ[STATIC_LARGE_OBJECT] = "True"
        environ["wsgi.input"] = BytesBody(content)
        environ["CONTENT_LENGTH"] = str(len(content))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        response = self._store(request)
        if Client.ETAG in response.headers:
            response.headers |= quoted_etag(etag)
        return response

    def copied(
        self, request: SwiftRequest, target: ResourcePath, source: OpenedObject, metadata: StoredMetadata
    ) -> tuple[OpenedObject, StoredMetadata] | SegmentProblems:
        """The manifest to be stored as the copy of an opened one: the segments have to be there, beside the copy."""
        _, before = read_manifest(target, source)
        parts, problems = examined(segments_of(before), target.account, self._reader.source(request))
        if problems:
            return SegmentProblems(request, problems)
        content = encode_manifest(parts)
        return msgspec.structs.replace(source, body=content), stored_with(metadata, parts, content)


def whole_manifest(request: SwiftRequest) -> bytes:
    """The manifest that a client sends. Raises HttpError 411, 413."""
    too_large = HttpError(413, f"Manifest is limited to {MANIFEST_BYTES_MAX} bytes")
    length = request.content_length
    if length is None and not request.chunked:
        raise HttpError(411, "Missing Content-Length header.")
    if length is not None and length > MANIFEST_BYTES_MAX:
        raise too_large
    content = bytearray()
    while chunk := request.body.read(_READ_BYTES):
        content += chunk
        if len(content) > MANIFEST_BYTES_MAX:
            raise too_large
    if length is not None and len(content) != length:
        raise HttpError(499)
    return bytes(content)


def stored_with(metadata: StoredMetadata, parts: Sequence[Part], content: bytes) -> StoredMetadata:
    """What is stored beside a manifest, and listed: the manifest's own ETag, and with it that of what it makes."""
    etag, size = etag_of(parts), sum(part.length for part in parts)
    own_etag = md5(content, usedforsecurity=False).hexdigest()
    stored = manifest_metadata(metadata, size, etag)
    listed = {LISTED_ETAG: etag_with_fields(own_etag, {"slo_etag": f'"{etag}"'})}
    return msgspec.structs.replace(stored, system=stored.system | listed)


def examined(segments: Sequence[Segment], account: str, source: PartSource) -> tuple[list[Part], list[Problem]]:
    """The parts that segments make, or what is wrong with which of them. Two are looked at at a time."""
    found: list[Part | Problem | None] = [None] * len(segments)

    def work(number: int) -> None:
        segment = segments[number]
        found[number] = _examined(segment, account, source) if segment.path else data_part(segment)

    for_each(range(len(segments)), work, CONCURRENCY)
    problems = [each for each in found if isinstance(each, tuple)]
    return [each for each in found if isinstance(each, Part)], problems


def _examined(segment: Segment, account: str, source: PartSource) -> Part | Problem:
    container, _, name = segment.path[1:].partition("/")
    path = ResourcePath(account, container, name)
    try:
        return object_part(segment, path, source.head(path))
    except ValueError as error:
        return segment.name, str(error)
    except StoreError as error:
        if not errors.is_foreseen(error):
            raise
        status = errors.refusal_of(error).status
        return segment.name, f"{status} {REASONS.get(status, 'Unknown')}"
