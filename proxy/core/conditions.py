"""Conditions against what has been read: of writes that read first, and of reads that the servers leave to readers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from objstore.conditions import ObjectState, WriteConditions
from objstore.http.conditional import evaluate, range_applies
from objstore.http.ranges import ByteRange, parse_ranges, resolve_ranges
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend import objects as backend
from objstore.proxy.core.backend.names import COMPOSITE_ETAG, COMPOSITE_SIZE
from objstore.proxy.core.errors import InvalidRange, NotModified, ObjectFacts, PreconditionFailed
from objstore.proxy.core.info import StoredObjectInfo
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.objects import GetObject


def check_conditions(conditions: WriteConditions | None, found: StoredObjectInfo | None) -> None:
    """Refuse what the write itself would refuse; `found` is the object as it is stored, None for none.

    Raises PreconditionFailed.
    """
    if conditions is not None and conditions.refuse(None if found is None else state_of(found)):
        raise PreconditionFailed


def state_of(info: StoredObjectInfo) -> ObjectState:
    """A stored object as conditions see it."""
    system = info.metadata.system
    return ObjectState(
        etag=system.get(COMPOSITE_ETAG, info.etag),
        size=int(system.get(COMPOSITE_SIZE, info.size)),
        modified=Timestamp.parse(info.timestamp).ceil_seconds,
        version=info.version,
    )


def check_read_conditions(command: GetObject, info: StoredObjectInfo) -> None:
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
    validator = None if command.conditions is None else command.conditions.if_range
    if specs is None or not range_applies(lambda _name: validator, info.etag, info.last_modified):
        return None
    ranges = resolve_ranges(specs, info.size)
    if not ranges:
        raise InvalidRange(_facts(info))
    return ranges


def _facts(info: StoredObjectInfo) -> ObjectFacts:
    return ObjectFacts(info.etag, info.timestamp, info.last_modified, info.size)
