"""Writes to objects whose policy is strong: the checks that a slot is held for, and what the answers say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response, variable_of
from objstore.object.agreement import HeldSlot
from objstore.object.file_names import WHOLE, parse_name, shared_name
from objstore.object.requests import Target
from objstore.object.responses import conflict, plain
from objstore.object.service import ObjectService
from objstore.object.versions import ObjectVersions, held_names, live_names
from objstore.timestamps import Timestamp

# The names that stand for the state of an object: the newest of them, if there are more.
STATE_NAMES_MAX: Final = 40
# Of an object of which there is nothing, not even that it was deleted.
NOTHING: Final = "-"
_AGREED: Final = variable_of(Backend.AGREED)
_BELATED: Final = variable_of(Backend.BELATED)
_STATE: Final = variable_of(Backend.STATE)
_KEPT_BODY: Final = variable_of(Backend.KEPT_BODY)
_KEPT_NAME: Final = re.compile(r"kept[0-9a-z.-]{1,100}")


def newest_stamp(current: ObjectVersions) -> str:
    """When anything happened to the object last; every write makes it later."""
    if not current.names:
        return ""
    if len(current.names) == 1 and current.data is not None:  # nearly every object
        return current.data.timestamp
    return max((file.timestamp for file in map(parse_name, held_names(current)) if file is not None), default="")


def state_of(current: ObjectVersions, *, pending: bool = True) -> str:
    """A value that devices share only if they have the same versions of the object: the names of their files.

    Of fragments the number is left out: each device has its own. Who decides a write has seen to those `pending`.
    """
    names = held_names(current) if pending else live_names(current)
    if len(names) > STATE_NAMES_MAX:
        files = sorted((file.timestamp, file.name) for file in map(parse_name, names) if file is not None)
        names = tuple(sorted({*current.current.live_names, *(name for _, name in files[-STATE_NAMES_MAX:])}))
    if any("#" in name for name in names):
        names = tuple(sorted(set(map(shared_name, names))))
    return ",".join(names) or NOTHING


def state_headers(current: ObjectVersions) -> dict[str, str]:
    """The state of an object, and of fragments also which ones there are."""
    if len(current.names) == 1 and current.data is not None and current.data.fragment == WHOLE:  # nearly every object
        return {Backend.STATE: current.names[0], Backend.NEWEST: current.data.timestamp}
    headers = {Backend.STATE: state_of(current), Backend.NEWEST: newest_stamp(current)}
    if "#" in headers[Backend.STATE]:
        fragments = [name for name in held_names(current) if "#" in name]
        headers[Backend.FRAGMENTS] = ",".join(sorted(fragments)[-STATE_NAMES_MAX:])
    return headers


def refusal(slot: HeldSlot, current: ObjectVersions) -> Response:
    """409: the write comes too late, and must be stamped later than what the answer names."""
    response = conflict(newest_stamp(current))
    response.headers |= {Backend.FLOOR: slot.floor, Backend.NEWEST: newest_stamp(current), Backend.PUSHED: slot.pushed}
    return response


def kept_body(request: Request) -> str:
    """The name by which an earlier attempt of a write has left its body here; "" if it comes now. Raises HttpError 400.

    A body that was streamed cannot come again: when its write is refused for its time alone, it is kept for the next
    attempt.
    """
    name: str = request.environ.get(_KEPT_BODY, "")
    if name and not _KEPT_NAME.fullmatch(name):
        raise HttpError(400, f"Bad {Backend.KEPT_BODY}: {name!r}")
    return name


class StrongWrite:
    """One write, which holds the slot of its object from its check until it is durable. Ends as a context manager."""

    def __init__(self, service: ObjectService, request: Request, target: Target, timestamp: str) -> None:
        self._table = service.engine.agreement(target.storage.path)
        self._digest = target.location.hash
        self._timestamp = timestamp
        environ = request.environ
        self._agreed = _AGREED in environ
        self._belated = _BELATED in environ
        self._state = environ.get(_STATE)
        self._slot: HeldSlot | None = None

    def __enter__(self) -> StrongWrite:
        return self

    def __exit__(self, *_: object) -> None:
        if self._slot is not None:
            self.release()

    @property
    def is_held(self) -> bool:
        return self._slot is not None

    def decided(self, trailers: Mapping[str, str]) -> str:
        """When a write happens that is decided only once its body is there: its trailers say. Raises HttpError 400."""
        given = trailers.get(Client.TIMESTAMP)
        if given is not None:
            try:
                self._timestamp = Timestamp.parse(given).internal
            except ValueError as error:
                raise HttpError(400, f"Bad X-Timestamp trailer: {error}") from None
            self._agreed = Backend.AGREED in trailers
        return self._timestamp

    def hold(self) -> None:
        """Until `release`, nobody else writes the object, and what is stored of it is durable."""
        self._slot = self._table.held(self._digest).__enter__()

    def refusal(self, current: ObjectVersions) -> Response | None:
        """409 if something newer is stored or was promised, or the object is not in the state the write is for.

        What a daemon writes has the time of what it repeats. It is taken as if replication brought it: 503 while a
        newer write is being decided.
        """
        slot = self._slot
        assert slot is not None
        if self._belated:
            return plain(503, "A write is being decided") if slot.defers(self._timestamp, "") else None
        if newest_stamp(current) >= self._timestamp or not slot.takes(self._timestamp, self._agreed):
            return refusal(slot, current)
        if self._state is not None and self._state != state_of(current, pending=False):
            return refusal(slot, current)
        return None

    def release(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.__exit__()
