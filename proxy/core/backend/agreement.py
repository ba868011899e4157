"""Agreement on objects of strong policies, on the wire: what is asked, and what the answers mean."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.conditions import ObjectState
from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.http.transport import BackendResponse
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import Headers
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.quorum_request import QuorumResult

PREPARE: Final = "PREPARE"
REPAIR: Final = "REPAIR"
_ASKED: Final = (Client.TRANS_ID, Backend.POLICY_INDEX, Backend.VERSION_ID, Backend.OPEN_EXPIRED)
_EXPIRED_TOO: Final = {Backend.OPEN_EXPIRED: "true"}
_KEPT: Final = "!"
_FRAGMENT: Final = "#"  # each device has its own: no other one can give it
_TIMESTAMP: Final = re.compile(r"\d{10}\.\d{5}(?:_[0-9a-f]{16})?")


class Prepared(Struct, frozen=True):
    """What a device has of an object, after its promise to take no older write of it.

    state: a value that devices share only if they have the same versions. newest: the timestamp of what happened to
    the object last. pushed: the newest version, maybe of another object, that has lately come from another device.
    found: what readers get; None if they get nothing. delete_at: when that expires, "" for never.
    """

    node: Device
    state: str
    newest: str
    pushed: str
    found: ObjectState | None
    delete_at: str = ""

    @property
    def is_fragmented(self) -> bool:
        """Whether what was stored last is a fragment."""
        return any(_FRAGMENT in name and name.startswith(self.newest) for name in _names(self.state))


class Answers(Struct, frozen=True):
    """What nodes did about a write, by the ids of their devices; nothing is known of those in neither.

    later: the newest timestamp for which it came too late, "" if that is no node's reason. refusals: how many refuse it
    for another reason than its time.
    """

    stored: frozenset[int]
    refused: frozenset[int]
    later: str
    refusals: int


def asking(headers: Mapping[str, str]) -> Headers:
    """Of the headers of a request, those by which others are asked about the same object."""
    return {name: headers[name] for name in _ASKED if name in headers}


def asking_before(headers: Mapping[str, str], *, of_version: bool) -> Headers:
    """As `asking`, about the object that a write is for: what is current or, if it is `of_version`, the version named.

    A write that depends on when the object expires is about what has expired, too.
    """
    asked = asking(headers)
    if not of_version:
        asked.pop(Backend.VERSION_ID, None)
    return asked | _EXPIRED_TOO if Client.IF_DELETE_AT in headers else asked


def names_only(headers: Mapping[str, str]) -> Headers:
    """What asks a device which versions it has, beside a read of another device."""
    return asking(headers) | {Backend.NAMES_ONLY: "true"}


def preparing(headers: Mapping[str, str], stamp: Timestamp) -> Headers:
    return asking(headers) | {Client.TIMESTAMP: stamp.internal}


def agreed(stamp: Timestamp, state: str = "") -> Headers:
    """What a write says that was prepared; with a state it is done in that one only."""
    return {Backend.AGREED: stamp.internal} | ({Backend.STATE: state} if state else {})


def decided(stamp: Timestamp, *, is_agreed: bool) -> Headers:
    """The trailers of a write that is decided when its body is there."""
    return {Client.TIMESTAMP: stamp.internal} | (agreed(stamp) if is_agreed else {})


def expect_decision(headers: Iterable[Headers]) -> None:
    """Announce those trailers."""
    for each in headers:
        each[Client.TRAILER] = f"{each[Client.TRAILER]}, {Client.TIMESTAMP}, {Backend.AGREED}"


def restamp(headers: Iterable[Headers], stamp: Timestamp) -> None:
    """Have requests that were sent before count as sent with the stamp in their trailers.

    A version that they make is still called as it was when its body began to come in.
    """
    for each in headers:
        if each.get(Backend.VERSION_MODE) == "keep":
            each.setdefault(Backend.VERSION_ID, each[Client.TIMESTAMP])
        each[Client.TIMESTAMP] = stamp.internal


def kept_body(response: BackendResponse) -> str:
    """The name by which a node that refuses a write has kept its body; "" if it has not."""
    return response.headers.get(Backend.KEPT_BODY, "")


def with_kept_body(headers: Headers, trailers: Mapping[str, str], name: str) -> Headers:
    """Another attempt of a write whose body and trailers were sent before."""
    sent = {**headers, **trailers, Backend.KEPT_BODY: name}
    del sent[Client.TRAILER]
    return sent


def state_of(response: BackendResponse) -> str | None:
    """The state of the object that an answer is about; None if its node cannot say."""
    return response.headers.get(Backend.STATE)


def prepared(result: QuorumResult) -> tuple[list[Prepared], str]:
    """The promises that were made, and the newest timestamp that stands against those that were not."""
    granted, later = [], ""
    for node, response in zip(result.nodes, result.responses, strict=True):
        headers = response.headers
        if response.status == codes.CONFLICT:
            later = max(later, _later(headers))
        elif response.status in (codes.FOUND, codes.NOT_FOUND) and Backend.STATE in headers:
            found = _found(headers) if response.status == codes.FOUND else None
            state, newest = headers[Backend.STATE], headers.get(Backend.NEWEST, "")
            pushed, delete_at = headers.get(Backend.PUSHED, ""), headers.get(Client.DELETE_AT, "")
            granted.append(Prepared(node, state, newest, pushed, found, delete_at))
    return granted, later


def _found(headers: Mapping[str, str]) -> ObjectState:
    modified = Timestamp.parse(headers[Backend.TIMESTAMP]).ceil_seconds
    size, version = int(headers[Backend.OBJECT_LENGTH]), headers.get(Backend.VERSION_ID, "")
    return ObjectState.of(headers[Client.ETAG], size, modified, version, headers)


def _later(headers: Mapping[str, str]) -> str:
    return max(headers.get(name, "") for name in (Backend.FLOOR, Backend.NEWEST, Backend.TIMESTAMP))


def answers(result: QuorumResult, stamp: Timestamp, *, deletes: bool) -> Answers:
    """What became of a write at `stamp`."""
    stored, refused, later, refusals = set(), set(), "", 0
    for node, response in zip(result.nodes, result.responses, strict=True):
        status, headers = response.status, response.headers
        # A tombstone is written whether there was an object or not.
        if status <= codes.SUCCESS_MAX or (deletes and status == codes.NOT_FOUND):
            stored.add(node.id)
        elif status != codes.CONFLICT or Backend.VERSIONS_FULL in headers:
            refused.add(node.id)
            refusals += 1
        elif headers.get(Backend.NEWEST) != stamp.internal:
            refused.add(node.id)
            later = max(later, _later(headers))
    return Answers(frozenset(stored), frozenset(refused), later, refusals)


def repairs(granted: Iterable[Prepared]) -> Iterator[tuple[Device, bytes]]:
    """Which device is to push what to which other one, so that all have the same versions: orders, by their senders."""
    held = list(granted)
    for source in held:
        for target in held:
            names = missing_names(source.state, target.state)
            if names:
                to = target.node.on_replication
                yield source.node, msgspec.json.encode({"address": to.address, "device": to.device, "names": names})


def missing_names(source: str, target: str) -> list[str]:
    """The names in the one state that the other lacks, but those that something newer has replaced there."""
    has = _names(target)
    replaced = max((_time(name) for name in has if _KEPT not in name and not name.endswith(".meta")), default="")
    return [
        name
        for name in _names(source)
        if name not in has and _FRAGMENT not in name and (_KEPT in name or _time(name) >= replaced)
    ]


def _names(state: str) -> list[str]:
    return [] if state == "-" else state.split(",")


def _time(name: str) -> str:
    """The timestamp at the start of a name."""
    match = _TIMESTAMP.match(name)
    return match[0] if match else ""
