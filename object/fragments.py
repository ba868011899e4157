"""Fragments of erasure-coded objects: stored under a pending name, made durable by COMMIT, and read one by one.

A PUT with X-Backend-Fragment stores a fragment, flushed, under its pending name: it replaces nothing, and readers
count how many devices have it. COMMIT says that enough have.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

from objstore.erasure import BadCode, ErasureCode
from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Body, Request, Response
from objstore.http.ranges import ByteRange, ranges_of
from objstore.object.engine import Missing, PendingCommit, StoredObject
from objstore.object.metadata import StoredFragment
from objstore.object.requests import Target, timestamp_of, version_of
from objstore.object.responses import not_found, object_headers, plain
from objstore.object.service import ObjectService
from objstore.object.strong_writes import state_headers
from objstore.object.versions import Line, ObjectVersions

# Up to this size a fragment is read and verified before its first byte leaves.
WHOLE_BYTES_MAX: Final = 64 * 1024
# What a reader asks for that does not know yet what there is.
OWN: Final = "own"


def stored_fragment(request: Request, length: int) -> StoredFragment | None:
    """Which fragment a PUT stores in `length` bytes, None for a whole object. Raises HttpError 400."""
    text = request.header(Backend.FRAGMENT)
    if text is None:
        return None
    index, _, code_text = text.partition(" ")
    try:
        code = ErasureCode.parse(code_text)
        if not 0 <= int(index) < code.fragments:
            raise ValueError(index)
    except (BadCode, ValueError) as error:
        raise HttpError(400, f"Bad {Backend.FRAGMENT}: {error}") from None
    return StoredFragment(int(index), code_text, length)


def whole_size(request: Request, fragment: StoredFragment) -> int:
    """How many bytes the object has of which a fragment was received. Raises HttpError 400 and 422."""
    text = request.trailers.get(Backend.WHOLE_SIZE) or request.header(Backend.WHOLE_SIZE) or ""
    if not (text.isascii() and text.isdigit()):
        raise HttpError(400, f"{Backend.WHOLE_SIZE} must come as a header or trailer")
    if ErasureCode.parse(fragment.code).fragment_length(int(text)) != fragment.length:
        raise HttpError(422, "The fragment's length is not that of the object's size")
    return int(text)


def commit_fragment(service: ObjectService, request: Request) -> Response:
    """Give the fragment written at X-Timestamp its durable name: 201, or 200 if that, or something newer, is there.

    404 if there is no such fragment. Of a strong policy 409 while a newer write of the object is being decided.
    """
    target, timestamp = service.target(request), timestamp_of(request)
    if not target.location.policy.is_strong:
        return _commit(service, request, target, timestamp)
    with service.engine.agreement(target.storage.path).held(target.location.hash) as slot:
        if slot.defers(timestamp, request.header(Backend.AGREED) or ""):
            return plain(409, "A newer write is being decided")
        return _commit(service, request, target, timestamp)


def _commit(service: ObjectService, request: Request, target: Target, timestamp: str) -> Response:
    current = target.storage.look(target.location)
    line = current.line(version_of(request) or "")
    pending = [file for file in line.pending if file.timestamp == timestamp]
    if not pending:
        return plain(200, "It is durable") if line.timestamp >= timestamp else not_found(line.timestamp)
    commits: list[PendingCommit] = []
    try:
        commits = [target.storage.settle(target.location, current, file) for file in pending]
    except FileNotFoundError:  # another request was faster
        current = target.storage.look(target.location)
        if current.line(line.version).timestamp < timestamp:
            return not_found(line.timestamp)
    for each in commits:
        service.make_durable(target, each)
    return plain(201, "Durable")


def own_fragment(request: Request, stored: StoredObject, chosen: ByteRange) -> bytes | Body:
    """The whole fragment, if it is asked for and the object has one segment; no data fragment without a byte chosen.

    Otherwise nothing: the reader asks for the pieces that it needs. Closes the object.
    """
    data = stored.info.data
    fragment, size = data.fragment, data.size
    if request.header(Backend.FRAGMENT) == OWN and fragment is not None:
        code = ErasureCode.parse(fragment.code)
        is_needed = fragment.index >= code.data or fragment.index in code.data_indexes(
            0, chosen.first, chosen.last, size
        )
        if code.segment_count(size) == 1 and is_needed:
            return stored.stream(0, fragment.length) if fragment.length > WHOLE_BYTES_MAX else stored.read()
    stored.close()
    return b""


def verify_fragment(service: ObjectService, request: Request) -> Response:
    """Read the fragment "TIMESTAMP#INDEX" of which a reader says that it is damaged: 200, or 404 if it is not there.

    If it is damaged it is quarantined, and the next pass of the replicator rebuilds it. Raises ObjectCorrupt.
    """
    target = service.target(request)
    found = _opened(request, target, request.header(Backend.FRAGMENT) or "", 0)
    if isinstance(found, Response):
        return found
    with closing(found.stream(0, found.info.data.stored_size)) as body:
        for _ in body:
            pass
    return plain(200, "It is sound")


def get_fragment(request: Request, target: Target, wanted: str) -> Response:
    """The bytes of one fragment, "TIMESTAMP#INDEX", pending or not: 200, or 206 for a range of it; 404, 416."""
    stored = _opened(request, target, wanted, WHOLE_BYTES_MAX)
    if isinstance(stored, Response):
        return stored
    fragment = stored.info.data.fragment
    assert fragment is not None
    headers = object_headers(stored.info) | {Backend.FRAGMENT: fragment.code}
    size, status, chosen = fragment.length, 200, ByteRange(0, fragment.length - 1)
    asked = request.header(Client.RANGE)
    if asked is not None:
        ranges = ranges_of(asked, size)
        if not ranges or len(ranges) > 1:
            stored.close()
            return plain(416, "Requested Range Not Satisfiable")
        status, chosen = 206, ranges[0]
        headers[Client.CONTENT_RANGE] = chosen.content_range(size)
    start, stop = chosen.first, chosen.last + 1
    if size > WHOLE_BYTES_MAX:
        return Response(status, headers, stored.stream(start, stop))
    return Response(status, headers, stored.read()[start:stop])


def _opened(request: Request, target: Target, wanted: str, read_max: int) -> StoredObject | Response:
    """One fragment, "TIMESTAMP#INDEX", or the 404. Raises ObjectCorrupt."""
    timestamp, _, index = wanted.partition("#")
    current = target.storage.look(target.location)
    version = version_of(request)
    line = current.current if version is None else current.line(version)
    files = (file for each in current.lines for file in (*each.fragments, *each.pending))
    file = next((file for file in files if file.timestamp == timestamp and str(file.fragment) == index), None)
    if file is None:
        return _without(current, line)
    stored = target.storage.open(target.location, current.with_only(file), read_max, version=file.version)
    if isinstance(stored, Missing):
        return _without(current, line)
    fragment = stored.info.data.fragment
    if fragment is None or stored.info.data.timestamp != timestamp or str(fragment.index) != index:
        stored.close()
        return _without(current, line)
    return stored


def _without(current: ObjectVersions, line: Line) -> Response:
    response = not_found(line.timestamp)
    response.headers |= state_headers(current)
    return response
