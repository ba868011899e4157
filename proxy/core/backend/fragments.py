"""Fragments on the wire: what PUTs and COMMITs say of them, and which ones a device says it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.erasure import BadCode, ErasureCode
from objstore.headers import Backend, Client
from objstore.http.ranges import ByteRange
from objstore.http.transport import BackendResponse
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import Headers, rest_headers
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.objects import PostObject, PutObject

COMMIT: Final = "COMMIT"
VERIFY: Final = "VERIFY"
_TIME: Final = r"\d{10}\.\d{5}(?:_[0-9a-f]{16})?"
# The names of files as devices tell them: see object/file_names.py. In a state fragments have no number.
_NAME: Final = re.compile(
    rf"(?P<time>{_TIME})(?:\+{_TIME})?(?P<line>!(?P<version>null|{_TIME})?)?"
    r"(?:#(?P<number>\d*)(?P<durable>#d)?)?\.(?P<kind>data|meta|ts)",
    re.ASCII,
)


class HeldFile(Struct, frozen=True):
    """A file of an object: of the plain line (`version` is "") or a kept version, written at `timestamp`.

    number: of a fragment, None for what is whole, or has no number. pending: not known to be durable in the cluster.
    decides: data, a tombstone or a delete marker, not metadata. removes: it removes a kept version.
    """

    name: str
    timestamp: str
    version: str
    number: int | None
    pending: bool
    decides: bool
    removes: bool


def held_file(name: str) -> HeldFile | None:
    """What one name in a device's answer says; None if it is of no known form."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    time, version, kind = match["time"], match["version"] or "", match["kind"]
    removes = kind == "ts" and version not in ("", "null")
    if version == "null":
        version = ""
    elif match["line"] and not version:
        version = time
    number = int(match["number"]) if match["number"] else None
    is_pending = match["number"] is not None and match["durable"] is None
    return HeldFile(name, time, version, number, is_pending, kind != "meta", removes)


def names_of(state: str) -> frozenset[str]:
    """The names in a state."""
    return frozenset() if state == "-" else frozenset(state.split(","))


def fragments_of(headers: Mapping[str, str]) -> list[HeldFile]:
    """The fragments that a device says it has."""
    names = headers.get(Backend.FRAGMENTS, "")
    return [file for file in map(held_file, names.split(",")) if file is not None and file.number is not None]


def asking_headers(command: PutObject | PostObject) -> Headers:
    """Those of a request about the object of a write."""
    return {Client.TRANS_ID: command.transaction_id, Backend.POLICY_INDEX: str(command.policy_index)}


def add_fragments(headers: Sequence[Headers], numbers: Sequence[int], code: ErasureCode) -> None:
    """Say in the headers of a PUT to each node which fragment it gets."""
    for each, number in zip(headers, numbers, strict=True):
        each[Backend.FRAGMENT] = f"{number} {code}"


def whole_size(size: int) -> Headers:
    """What goes with fragments once the size of the object is known."""
    return {Backend.WHOLE_SIZE: str(size)}


def expect_size(headers: Iterable[Headers]) -> None:
    """Announce the trailer with the size of the object."""
    for each in headers:
        each[Client.TRAILER] = f"{each[Client.TRAILER]}, {Backend.WHOLE_SIZE}"


def commit_headers(headers: Mapping[str, str], timestamp: str, version: str, agreed: Timestamp | None) -> Headers:
    """Those of a COMMIT; of the request `headers` what is about the object."""
    sent = {name: headers[name] for name in (Client.TRANS_ID, Backend.POLICY_INDEX) if name in headers}
    sent[Client.TIMESTAMP] = timestamp
    if version:
        sent[Backend.VERSION_ID] = version
    if agreed is not None:
        sent[Backend.AGREED] = agreed.internal
    return sent


class FragmentedObject(Struct, frozen=True):
    """What all fragments of one write have in common."""

    code: ErasureCode
    size: int
    timestamp: str
    etag: str


def fragmented(response: BackendResponse) -> FragmentedObject | None:
    """The object of which a good answer is about a fragment; None if the answer is about a whole one, or none."""
    headers = response.headers
    if response.status not in (codes.FOUND, codes.PARTIAL) or Backend.FRAGMENT not in headers:
        return None
    try:
        code, size = ErasureCode.parse(headers[Backend.FRAGMENT]), int(headers.get(Backend.WHOLE_SIZE, ""))
    except (BadCode, ValueError):
        return None
    return FragmentedObject(code, size, headers.get(Backend.DATA_TIMESTAMP, ""), headers.get(Client.ETAG, ""))


def asking_fragment(headers: Mapping[str, str], timestamp: str, number: int, wanted: ByteRange) -> Headers:
    """The headers of a GET of so much of one fragment."""
    return rest_headers(headers, wanted) | {Backend.FRAGMENT: f"{timestamp}#{number}"}


def asking_own(headers: Mapping[str, str], *, or_names: bool) -> Headers:
    """Those of a GET that is answered with the node's own fragment if the object is a single segment.

    or_names: of a whole object, with the names of its files alone.
    """
    return {**headers, Backend.FRAGMENT: "own"} | ({Backend.NAMES_ONLY: "true"} if or_names else {})


def own_fragment(response: BackendResponse, about: FragmentedObject) -> int | None:
    """The number of the fragment that is in an answer to `asking_own`; None if it has none of the object."""
    if fragmented(response) != about or response.body.length != about.code.fragment_length(about.size):
        return None
    numbers = [held.number for held in fragments_of(response.headers) if held.timestamp == about.timestamp]
    return numbers[0] if len(numbers) == 1 else None


def tells_names_alone(response: BackendResponse) -> bool:
    """Whether a node says no more than which versions it has: it was not asked for more, or what it has is damaged."""
    return response.status == codes.FOUND and Client.ETAG not in response.headers


def verify_headers(headers: Mapping[str, str], timestamp: str, number: int) -> Headers:
    """Those of a VERIFY of one fragment; of the request `headers` what is about the object."""
    names = (Client.TRANS_ID, Backend.POLICY_INDEX, Backend.VERSION_ID)
    sent = {name: headers[name] for name in names if name in headers}
    return sent | {Backend.FRAGMENT: f"{timestamp}#{number}"}
