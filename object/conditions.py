"""Conditions of writes, as far as each object server decides them by itself: those of policies that are `available`."""

from typing import Final

from objstore.conditions import ObjectState
from objstore.headers import Backend, Client
from objstore.http.conditional import parse_write_conditions
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response, variable_of
from objstore.object.engine import StoredObject
from objstore.object.requests import Target
from objstore.object.responses import plain
from objstore.object.service import ObjectService
from objstore.object.versions import ObjectVersions
from objstore.timestamps import Timestamp

_CONDITIONS: Final = frozenset(
    map(
        variable_of,
        (
            Client.IF_MATCH,
            Client.IF_NONE_MATCH,
            Client.IF_UNMODIFIED_SINCE,
            Backend.IF_SIZE,
            Backend.IF_VERSION,
        ),
    )
)


def is_conditional(request: Request) -> bool:
    """Whether a write is to be done only in some state of the object."""
    return not request.environ.keys().isdisjoint(_CONDITIONS)


def refuse_looked(service: ObjectService, request: Request, target: Target, current: ObjectVersions) -> Response | None:
    """As `refuse`, of an object that has only been looked at."""
    stored = service.live(target, current)
    if stored is not None:
        stored.close()
    return refuse(service, request, current, stored)


def refuse(
    service: ObjectService, request: Request, current: ObjectVersions, stored: StoredObject | None
) -> Response | None:
    """412 if the conditions do not hold for the object as it reads now. Raises HttpError 400."""
    try:
        conditions = parse_write_conditions(request.header)
    except ValueError as error:
        raise HttpError(400, str(error)) from None
    state = None
    if stored is not None and not service.expired(stored):
        info = stored.info
        modified = Timestamp.parse(info.timestamp).ceil_seconds
        state = ObjectState.of(info.data.etag, info.data.size, modified, info.version, info.data.sysmeta)
    if conditions.refuse(state):
        return plain(412, "Precondition Failed", current.newest_timestamp)
    return None
