"""ANNOUNCE: tell of what is stored once more, for another server that has failed to."""

from objstore.http.messages import Request, Response
from objstore.object.announce import audience_of
from objstore.object.responses import not_found, plain
from objstore.object.service import ObjectService


def announce_object(service: ObjectService, request: Request) -> Response:
    """202 when the servers that the headers name have been told, or a record is kept; 404 if nothing is known here."""
    target = service.target(request)
    audience = audience_of(request, target)
    standing = service.engine.look(target.location)
    stored = service.stored(target, standing)
    if stored is not None:
        stored.close()
        announcement = service.announcer.stored(target, audience, stored.description)
    elif standing.tombstone is not None:
        announcement = service.announcer.deleted(target, audience, standing.timestamp)
    else:
        return not_found("")
    announcement.wait()
    return plain(202, "Accepted", standing.newest_timestamp)
