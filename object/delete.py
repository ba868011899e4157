"""DELETE: mark an object, or a version of it, as deleted."""

from msgspec import Struct

from objstore.headers import Backend, Client
from objstore.http.messages import Request, Response
from objstore.object.conditions import is_conditional, refuse
from objstore.object.container_updates.sender import update_targets_of
from objstore.object.engine import AlreadyStored, StoredObject
from objstore.object.file_names import marker_name, tombstone_name
from objstore.object.metadata import TombstoneMetadata
from objstore.object.requests import (
    Target,
    VersionMode,
    bypasses_governance,
    delete_at_of,
    parse_delete_at,
    timestamp_of,
    version_mode_of,
    version_of,
)
from objstore.object.responses import conflict, locked, marker_headers, not_found, plain, versions_full
from objstore.object.service import ObjectService
from objstore.object.strong_writes import StrongWrite
from objstore.object.versions import Line, ObjectVersions


class Deletion(Struct, frozen=True):
    """What a DELETE writes: a file of this `name`, in the line of `version`; `deletes` says what then is no more.

    `deletes` is a version, "" the plain line, None the object as it reads.
    """

    name: str
    version: str
    deletes: str | None
    is_marker: bool = False


def delete_object(service: ObjectService, request: Request) -> Response:
    """204 when there was what is deleted, 404 when not; the deletion is written in both cases.

    403 when a lock protects what would be removed, 409 when something as new is stored, or no more versions can be.
    With X-If-Delete-At nothing is written unless the object expires exactly then: 404 when there is no object, 412 when
    it does not.
    """
    target, timestamp = service.target(request), timestamp_of(request)
    if not target.location.policy.is_strong:
        return _delete(service, request, target, timestamp, None)
    with StrongWrite(service, request, target, timestamp) as strong:
        strong.hold()
        return _delete(service, request, target, timestamp, strong)


def _delete(
    service: ObjectService, request: Request, target: Target, timestamp: str, strong: StrongWrite | None
) -> Response:
    deletion = _deletion(request, timestamp)
    update_targets = update_targets_of(request, target)
    guard = request.header(Client.IF_DELETE_AT)
    expected = None if guard is None else parse_delete_at(Client.IF_DELETE_AT, guard)
    current, stored = target.storage.examine(target.location, deletion.deletes)
    deleted = current.current if deletion.deletes is None else current.line(deletion.deletes)
    # Who deletes an object that reads as deleted finds none; who removes a delete marker finds that.
    was_live = (deleted.is_marker and deletion.deletes is not None) or bool(deleted.pending)
    if stored is not None:
        stored.close()
        was_live = not service.expired(stored)
    if expected is not None and (refusal := _guarded(stored, expected, deleted.timestamp)):
        return refusal
    if strong is not None:
        refusal = strong.refusal(current)
    else:
        refusal = refuse(service, request, current, stored) if is_conditional(request) else None
    if refusal is None and _is_locked(service, request, target, current, deletion):
        refusal = locked()
    if refusal is not None:
        return refusal
    if stored_at := _stored_instead(deletion, current.line(deletion.version), timestamp):
        return conflict(stored_at)
    if deletion.is_marker and deletion.version and current.is_full:
        return versions_full()

    tombstone = TombstoneMetadata(target.location.name, timestamp)
    try:
        pending_commit = target.storage.write_tombstone(target.location, current, tombstone, deletion.name)
    except AlreadyStored:
        return conflict(timestamp)
    in_flight = service.update_sender.deleted(target, update_targets, timestamp, deletion.version, deletion.is_marker)
    service.make_durable(target, pending_commit)
    if strong is not None:
        strong.release()
    acknowledgement = in_flight.acknowledgement()
    if was_live or expected is not None:
        response = Response(204, {Backend.TIMESTAMP: timestamp})
    else:
        response = not_found(timestamp)
    if deletion.is_marker or (deleted.is_marker and deletion.deletes is not None):
        response.headers |= marker_headers(deletion.version)
    response.headers |= acknowledgement
    return response


def _deletion(request: Request, timestamp: str) -> Deletion:
    version, mode = version_of(request), version_mode_of(request)
    if version is not None:
        return Deletion(tombstone_name(timestamp, version), version, version)
    match mode:
        case VersionMode.KEEP:
            return Deletion(marker_name(timestamp, kept=True), timestamp, None, True)
        case VersionMode.NULL:
            return Deletion(marker_name(timestamp, kept=False), "", None, True)
        case VersionMode.PLAIN:
            return Deletion(tombstone_name(timestamp), "", "")


def _is_locked(
    service: ObjectService, request: Request, target: Target, current: ObjectVersions, deletion: Deletion
) -> bool:
    """Whether a lock protects what the deletion takes away: a marker that is kept takes nothing away."""
    line = current.line(deletion.version)
    # An object of the plain line is locked by a POST: only where versions are kept are new ones locked.
    if line.data is None or (not deletion.version and line.meta is None):
        return False
    return service.is_locked(target, deletion.version, bypasses=bypasses_governance(request))


def _stored_instead(deletion: Deletion, line: Line, timestamp: str) -> str:
    """When something was stored that the deletion cannot replace; "" if nothing was."""
    if not deletion.version:
        return line.timestamp if line.timestamp >= timestamp else ""
    if deletion.is_marker:
        return line.timestamp
    # A version is removed whatever the two times are.
    return line.timestamp if line.tombstone is not None and line.timestamp >= timestamp else ""


def _guarded(stored: StoredObject | None, expected: int, stored_at: str) -> Response | None:
    """The refusal, unless the object expires when the expirer thinks."""
    if stored is None:
        return not_found(stored_at)
    if delete_at_of(stored.info.headers) != expected:
        return plain(412, "The object does not expire then", stored_at)
    return None
