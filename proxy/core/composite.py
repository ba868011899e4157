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

from objstore.paths import ResourcePath
from objstore.proxy.core.composite_body import CompositeBody, PartReader, Throttle, read_manifest
from objstore.proxy.core.conditions import check_read_conditions, chosen_ranges
from objstore.proxy.core.errors import (
    ContainerNotFound,
    PartUnavailable,
    QuorumNotReached,
)
from objstore.proxy.core.info import PRESENT, UNKNOWN, ContainerInfo, StoredObjectInfo
from objstore.proxy.core.manifest import Part, composite_info, is_composite, pieces_of
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.uploads import is_hidden

if TYPE_CHECKING:
    from objstore.proxy.core.encryption.envelope import CustomerKey
    from objstore.proxy.core.lookup import InfoSource
    from objstore.proxy.core.objects import ObjectOperations

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
        customer_key: CustomerKey | None = None,
    ) -> None:
        """`allowed` is asked once for each container that parts lie in, None for a reader that may read them all."""
        self._open_expired = open_expired
        self._customer_key = customer_key
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
            customer_key=self._customer_key,
        )


def composite_head(command: GetObject, info: StoredObjectInfo) -> StoredObjectInfo:
    """What a stored manifest says of the object it makes. Raises NotModified, PreconditionFailed, ManifestDamaged."""
    whole = composite_info(command.path, info)
    check_read_conditions(command, whole)
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
    check_read_conditions(command, info)
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
