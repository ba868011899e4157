"""Dynamic large objects of the Swift API: objects with X-Object-Manifest: CONTAINER/PREFIX, percent-quoted.

Their own bytes are read, and copied, with ?multipart-manifest=get only. A reader needs the right to list the segments'
container.
"""

from __future__ import annotations

from typing import Final

import msgspec

from objstore.config.proxy import LargeObjectsConfig
from objstore.headers import Client
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import Allowed
from objstore.proxy.core.composite_body import Throttle
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.dynamic_manifest import DynamicManifestReader
from objstore.proxy.core.info import ContainerInfo, StoredObjectInfo
from objstore.proxy.core.links import LinkedPartSource
from objstore.proxy.core.listing import ListedEntry
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.swift.handlers.object import authorize
from objstore.proxy.swift.handlers.symlinks import Resolved
from objstore.proxy.swift.request import SwiftRequest
from objstore.rate_limiter import RateLimiter
from objstore.system.clock import Clock

# What is not known of the whole is not said.
UNKNOWN: Final = {Client.ETAG: "", Client.CONTENT_LENGTH: ""}


class DynamicLargeObjects:
    """Reads what manifests make, with the client's rights."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects = context.objects
        self._containers = context.containers
        self._lookup = context.lookup
        self._config = context.config.large_objects
        self._clock = context.runtime.clock
        self._page_max = context.cluster.limits.container_listing_limit

    def open(self, request: SwiftRequest, command: GetObject, manifest: OpenedObject) -> Resolved[OpenedObject]:
        """The object that an opened manifest makes. Raises HttpError 401, 403, and CoreError."""
        if "," in command.ranges:
            command = msgspec.structs.replace(command, ranges="")  # Swift gives the whole instead of several ranges
        opened = self._reader(request).open(command, manifest, throttle_of(self._config, self._clock))
        known = opened.body == b"" or opened.length is not None
        return Resolved(opened, command, quoted_etag(opened.info.etag) if known else UNKNOWN)

    def head(self, request: SwiftRequest, command: GetObject, manifest: StoredObjectInfo) -> Resolved[StoredObjectInfo]:
        """As `open`, without the body."""
        made = self._reader(request).head(command, manifest)
        return Resolved(made.info, command, UNKNOWN if made.endless else quoted_etag(made.info.etag))

    def _reader(self, request: SwiftRequest) -> DynamicManifestReader:
        transaction_id = request.transaction_id
        may_read = rights_of(request)

        def list_objects(command: GetContainer) -> list[ListedEntry]:
            may_read(command.path, self._lookup.container(command.path, transaction_id))
            return self._containers.list(command)

        source = LinkedPartSource(self._objects, self._lookup, transaction_id, may_read)
        return DynamicManifestReader(list_objects, self._page_max, source)


def rights_of(request: SwiftRequest) -> Allowed:
    """Asks whether a client may read from a container."""

    def may_read(path: ResourcePath, container: ContainerInfo) -> None:
        authorize(request, container, path, container.read_acl, "GET")

    return may_read


def throttle_of(config: LargeObjectsConfig, clock: Clock) -> Throttle:
    """What slows down one reader of a large object with many small segments."""
    return Throttle(
        limiter=RateLimiter(config.rate_limit_segments_per_sec, clock),
        after_parts=config.rate_limit_after_segment,
        under_bytes=config.rate_limit_under_size,
        seconds_max=config.max_get_time,
    )


def quoted_etag(etag: str) -> dict[str, str]:
    """The ETag of an object that is made of parts: unlike others, it is no MD5 of the body, so it is quoted."""
    return {Client.ETAG: f'"{etag}"'}
