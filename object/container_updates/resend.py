"""RESEND_CONTAINER_UPDATE: send the container update of an object again, to servers that a failed node left out."""

from objstore.http.messages import Request, Response
from objstore.object.container_updates.sender import update_targets_of
from objstore.object.engine import Missing
from objstore.object.requests import version_of
from objstore.object.responses import not_found, plain
from objstore.object.service import ObjectService


def resend_container_update(service: ObjectService, request: Request) -> Response:
    """202 when the container servers in the headers have the update, or it is queued; 404 without such an object.

    X-Backend-Version-Id says which version, "null" the plain line; the current one without it.
    """
    target = service.target(request)
    version = version_of(request)
    update_targets = update_targets_of(request, target)
    current, stored = target.storage.examine(target.location, version)
    line = current.current if version is None else current.line(version)
    if line.pending:  # a fragment has a row before it is durable: who asks knows that enough others are stored
        if stored is not None:
            stored.close()
        newest = line.pending[-1]
        found = target.storage.open(target.location, current.with_only(newest), version=newest.version)
        stored = None if isinstance(found, Missing) else found
    if stored is not None:
        stored.close()
        in_flight = service.update_sender.stored(target, update_targets, stored.info)
    elif line.is_marker or line.tombstone is not None:
        in_flight = service.update_sender.deleted(target, update_targets, line.timestamp, line.version, line.is_marker)
    else:
        return not_found("")
    acknowledgement = in_flight.acknowledgement()
    response = plain(202, "Accepted", line.newest_timestamp)
    response.headers |= acknowledgement
    return response
