"""Conditions of writes against what has been read: for operations that read before they write."""

from __future__ import annotations

from objstore.conditions import ObjectState, WriteConditions
from objstore.proxy.core.backend.names import COMPOSITE_ETAG, COMPOSITE_SIZE
from objstore.proxy.core.errors import PreconditionFailed
from objstore.proxy.core.info import StoredObjectInfo
from objstore.timestamps import Timestamp


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
