"""Objects made of parts, as their readers get them: one reader over any manifest.

How to use it, for a manifest that is stored (static large objects, multipart uploads):

    source = PartSource(objects, lookup, transaction_id, allowed)
    opened = objects.open(command)                # a manifest comes whole, whatever the command's ranges
    if is_composite(opened.info):
        opened = open_composite(command, opened, source)          # HEAD: `composite_head`

and for parts that are known otherwise, such as a listing's: `open_parts(command, info, parts, source)`, with the size
and the ETag of the whole in `info`. Each gives an OpenedObject like any other's: a body, or several for several ranges.
Links among the parts are followed by giving a PartSource whose `open` does.

Invariant: no byte of a part goes out before the part's ETag and size were compared with the manifest. A first part that
is gone or has changed raises PartUnavailable before anything is sent; a later one ends the body with that error, so the
connection is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from objstore.http.conditional import evaluate, range_applies
from objstore.http.ranges import ByteRange, parse_ranges, resolve_ranges
from objstore.paths import ResourcePath
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend import objects as backend
from objstore.proxy.core.composite_body import CompositeBody, PartReader, Throttle, read_manifest
from objstore.proxy.core.errors import (
    ContainerNotFound,
    InvalidRange,
    NotModified,
    ObjectFacts,
    PartUnavailable,
    PreconditionFailed,
    QuorumNotReached,
)
from objstore.proxy.core.info import PRESENT, UNKNOWN, ContainerInfo, StoredObjectInfo
from objstore.proxy.core.manifest import Part, composite_info, is_composite, pieces_of
from objstore.proxy.core.objects import Conditions, GetObject, OpenedObject
from objstore.uploads import is_hidden

if TYPE_CHECKING:
    from objstore.proxy.core.lookup import InfoSource
    from objstore.proxy.core.objects import ObjectOperations

_NO_CONDITIONS: Final = Conditions()

# Raises an error if the reader may not read from a container.
Allowed = Callable[[ResourcePath, ContainerInfo], None]


class PartSource:
    """Opens objects as they are stored, for one request, with the rights of who reads."""

    def __init__(
        self,
        objects: ObjectOperations,
        lookup: InfoSource,
        transaction_id: str,
        allowed: Allowed | None = None,
        *,
        open_expired: bool = False,
    ) -> None:
        """`allowed` is asked once for each container that parts lie in, None for a reader that may read them all."""
        self._open_expired = open_expired
        self.transaction_id: Final = transaction_id
        self._objects = objects
        self._lookup = lookup
        self._allowed = allowed
        self._policies: dict[ResourcePath, int] = {}

    def open(self, path: ResourcePath, ranges: str = "", *, newest: bool = False) -> OpenedObject:
        """The object; a manifest comes as its own bytes, whole. Raises CoreError, and what `allowed` raises."""
        return self._objects.open(self._command(path, ranges, newest))

    def head(self, path: ResourcePath) -> StoredObjectInfo:
        """The object as it is stored. Raises CoreError, and what `allowed` raises."""
        return self._objects.head(self._command(path, "", newest=False))

    def policy_index(self, path: ResourcePath) -> int:
        """The policy of the container that an object lies in, if the reader may read there. Raises as `open` does."""
        container = path.container_path
        index = self._policies.get(container)
        if index is None:
            info = self._lookup.container(path, self.transaction_id)
            if info.existence is UNKNOWN:
                raise QuorumNotReached(container)
            if self._allowed is not None and not is_hidden(path):  # a manifest that names parts of uploads is our own
                self._allowed(path, info)
            if info.existence is not PRESENT:
                raise ContainerNotFound(container)
            index = self._policies[container] = info.policy_index
        return index

    def _command(self, path: ResourcePath, ranges: str, newest: bool) -> GetObject:
        return GetObject(
            path,
            self.policy_index(path),
            ranges,
            newest=newest,
            open_expired=self._open_expired,
            transaction_id=self.transaction_id,
        )


def composite_head(command: GetObject, info: StoredObjectInfo) -> StoredObjectInfo:
    """What a stored manifest says of the object it makes. Raises NotModified, PreconditionFailed, ManifestDamaged."""
    whole = composite_info(command.path, info)
    check_conditions(command, whole)
    return whole


def open_composite(
    command: GetObject, manifest: OpenedObject, source: PartSource, throttle: Throttle | None = None
) -> OpenedObject:
    """The object that an opened manifest makes, whose body this reads. Raises CoreError.

    A manifest that a replica holds on to although it was replaced names parts that have changed: so before the first
    part is given up, the newest manifest is read. A version that was asked for is never replaced.
    """
    whole, parts = read_manifest(command.path, manifest)
    try:
        return open_parts(command, whole, parts, source, throttle)
    except PartUnavailable:
        if command.newest or command.version:
            raise
        newest = source.open(command.path, newest=True)
        if not is_composite(newest.info) or newest.info.etag == manifest.info.etag:
            newest.close()
            raise
    whole, parts = read_manifest(command.path, newest)
    return open_parts(command, whole, parts, source, throttle)


def open_parts(
    command: GetObject,
    info: StoredObjectInfo,
    parts: Iterable[Part],
    source: PartSource,
    throttle: Throttle | None = None,
    *,
    endless: bool = False,
) -> OpenedObject:
    """The object made of `parts`, which `info` describes. Conditions and ranges of the command are weighed here.

    endless: nobody knows the size, so `info.size` counts for nothing and ranges are ignored. Raises CoreError.
    """
    check_conditions(command, info)
    reading = PartReader(command.path.account, source, throttle)
    ranges = None if endless else chosen_ranges(command, info)
    if ranges is None:
        body = CompositeBody(reading, pieces_of(parts, None), None if endless else info.size)
        body.open_first()
        return OpenedObject(info, body)
    known = list(parts)
    bodies = [(each, CompositeBody(reading, pieces_of(known, each), each.length)) for each in ranges]
    bodies[0][1].open_first()
    if len(bodies) == 1:
        return OpenedObject(info, bodies[0][1], ranges[0])
    return OpenedObject(info, b"", parts=tuple(bodies))


def check_conditions(command: GetObject, info: StoredObjectInfo) -> None:
    """Raises NotModified, PreconditionFailed."""
    if command.conditions is None:
        return
    asked = backend.read_headers(command, ranges=False)
    verdict = evaluate(asked.get, info.etag, info.last_modified)
    if verdict == codes.NOT_MODIFIED:
        raise NotModified(info)
    if verdict is not None:
        raise PreconditionFailed(_facts(info))


def chosen_ranges(command: GetObject, info: StoredObjectInfo) -> list[ByteRange] | None:
    """The ranges to send, None for the whole. Raises InvalidRange."""
    specs = parse_ranges(command.ranges) if command.ranges else None
    validator = (command.conditions or _NO_CONDITIONS).if_range
    if specs is None or not range_applies(lambda _name: validator, info.etag, info.last_modified):
        return None
    ranges = resolve_ranges(specs, info.size)
    if not ranges:
        raise InvalidRange(_facts(info))
    return ranges


def _facts(info: StoredObjectInfo) -> ObjectFacts:
    return ObjectFacts(info.etag, info.timestamp, info.last_modified, info.size)
