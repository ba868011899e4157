"""Moving one version of an object from a policy to another, as it is: body, metadata and their times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import xxhash
from msgspec import Struct

from objstore.container.queue import Misplaced, moved_at
from objstore.container.versions import NULL
from objstore.direct import Direct, Headers, NodeResponse, NodeResponses, container_headers
from objstore.headers import Backend, Client
from objstore.http.transport import BackendRequest, BackendResponse, BackendUpload, NodeFailure, Transport
from objstore.quorum import quorum_size
from objstore.ring.rings import Rings
from objstore.timestamps import Timestamp

# What of an answer belongs to the answer, and not to the object.
_OF_THE_ANSWER: Final = frozenset(
    {
        Client.ACCEPT_RANGES,
        Client.CONNECTION,
        Client.CONTENT_LENGTH,
        Client.CONTENT_RANGE,
        Client.DATE,
        Client.ETAG,
        Client.LAST_MODIFIED,
        Client.TIMESTAMP,
        Client.TRANSFER_ENCODING,
    }
)


class VersionTimes(Struct, frozen=True, gc=False):
    """When the content of an object was written, its metadata, and its content type."""

    data: Timestamp
    newest: Timestamp
    typed: Timestamp


class Mover:
    """Reads, writes and deletes what entries of the queue mean in given policies: a version, or the plain line."""

    def __init__(self, direct: Direct, rings: Rings, transport: Transport) -> None:
        self._direct = direct
        self._rings = rings
        self._transport = transport

    def look(self, entry: Misplaced, policy_index: int) -> NodeResponses:
        """HEAD it at all primaries of a policy."""
        headers = _reading(entry, policy_index)
        return self._direct.send(self._rings.object(policy_index), "HEAD", entry.path, headers)

    def read(self, entry: Misplaced, policy_index: int) -> BackendResponse | None:
        """The newest that is there, None if there is nothing. The caller closes it."""
        return self._direct.get(self._rings.object(policy_index), entry.path, _reading(entry, policy_index))

    def delete(self, entry: Misplaced, policy_index: int, timestamp: Timestamp) -> bool:
        """Leave a tombstone, or a removal mark; whether a quorum has it, or something newer."""
        return self._delete(entry, policy_index, timestamp, {Backend.VERSION_ID: entry.version or NULL})

    def mark(self, entry: Misplaced, policy_index: int) -> bool:
        """Leave the delete marker that the entry is of; whether a quorum has it, or something newer."""
        mode = {Backend.VERSION_MODE: "keep" if entry.version else "null"}
        return self._delete(entry, policy_index, _stamp(entry, entry.written), mode)

    def _delete(self, entry: Misplaced, policy_index: int, timestamp: Timestamp, what: dict[str, str]) -> bool:
        headers = _writing(policy_index, timestamp) | what
        replies = self._direct.send(
            self._rings.object(policy_index), "DELETE", entry.path, headers, each=self._containers(entry)
        )
        return _enough([_status(reply) for reply in replies.replies], (204, 404, 409))

    def write(self, entry: Misplaced, policy_index: int, source: BackendResponse) -> bool:
        """Store what was read; whether a quorum has it, or something newer. Raises NodeFailure of the source."""
        ring, path = self._rings.object(policy_index), entry.path
        partition, nodes = self._direct.primaries(ring, path)
        each = self._containers(entry)
        headers = stored_headers(source.headers) | _writing(
            policy_index, _stamp(entry, version_of(source.headers).data)
        )
        headers[Client.TRAILER] = f"{Client.ETAG}, {Backend.BODY_CHECKSUM}"
        if entry.version:
            headers |= {Backend.VERSION_MODE: "keep", Backend.VERSION_ID: entry.version}
        uploads: list[BackendUpload] = []
        statuses: list[int] = []
        for number, node in enumerate(nodes):
            request = BackendRequest("PUT", node, partition, path, headers | dict(each(number)))
            try:
                upload = self._transport.start_upload(request, source.body.length, self._direct.timeout_seconds)
                refusal = upload.expect()
            except NodeFailure:
                continue
            if refusal is None:
                uploads.append(upload)
            else:
                refusal.close()
                statuses.append(_status(refusal))
        if len(uploads) + statuses.count(409) < quorum_size(len(nodes)):
            for upload in uploads:
                upload.abandon()
            return False
        statuses += _send_body(source, uploads)
        return _enough(statuses, (201, 409), len(nodes))

    def post(self, entry: Misplaced, policy_index: int, source: BackendResponse) -> bool:
        """Lay metadata over the content as it lies over what was read; whether a quorum has it, or something newer."""
        version, headers = version_of(source.headers), stored_headers(source.headers)
        content_type = {Client.CONTENT_TYPE: headers.pop(Client.CONTENT_TYPE)}
        posts = []
        if version.typed > version.data:
            posts.append((version.typed, headers | content_type))
        if version.newest > version.typed:
            posts.append((version.newest, headers))
        each, own = self._containers(entry), _reading(entry, policy_index)
        for moment, posted in posts:
            sent = posted | own | _writing(policy_index, _stamp(entry, moment))
            replies = self._direct.send(self._rings.object(policy_index), "POST", entry.path, sent, each=each)
            if not _enough(replies.statuses, (202, 409)):
                return False
        return True

    def _containers(self, entry: Misplaced) -> Callable[[int], Headers]:
        return container_headers(*self._direct.primaries(self._rings.container, entry.path.container_path))


def _stamp(entry: Misplaced, moment: Timestamp) -> Timestamp:
    """With which time something is moved that a client wrote at this moment: a kept version stays what it is."""
    return moment if entry.version else moved_at(moment)


def _status(response: BackendResponse | NodeResponse) -> int:
    """Its status; 507 instead of a 409 that says that the object has too many versions to take one more."""
    return 507 if Backend.VERSIONS_FULL in response.headers else response.status


def _writing(policy_index: int, timestamp: Timestamp) -> dict[str, str]:
    return {
        Client.TIMESTAMP: timestamp.internal,
        Backend.POLICY_INDEX: str(policy_index),
        Backend.BELATED: "true",
    }


def _reading(entry: Misplaced, policy_index: int) -> dict[str, str]:
    """What a request says that reads what the entry means, or lays metadata over it."""
    return {
        Backend.POLICY_INDEX: str(policy_index),
        Backend.REPLICATION: "true",
        Backend.VERSION_ID: entry.version or NULL,
    }


def version_of(headers: Mapping[str, str]) -> VersionTimes:
    """Which version an answer is of. Raises KeyError if it is of none."""
    data = headers[Backend.DATA_TIMESTAMP]
    typed = headers.get(Backend.CONTENT_TYPE_TIMESTAMP, data)
    return VersionTimes(*(Timestamp.parse(each) for each in (data, headers[Backend.TIMESTAMP], typed)))


def stored_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an object's response that are stored with the object."""
    return {
        name: value
        for name, value in headers.items()
        if name not in _OF_THE_ANSWER and not name.startswith(Backend.PREFIX)
    }


def _send_body(source: BackendResponse, uploads: list[BackendUpload]) -> list[int]:
    """To all that keep up; what they answered. Breaking off leaves nothing behind."""
    digest = xxhash.xxh3_128()
    try:
        for chunk in source.body:
            digest.update(chunk)
            piece = bytes(chunk)  # the source's buffer is filled again before all have taken this one
            uploads = [upload for upload in uploads if _sent(upload, piece)]
    except BaseException:
        for upload in uploads:
            upload.abandon()
        raise
    trailers = {Client.ETAG: source.headers[Client.ETAG], Backend.BODY_CHECKSUM: digest.hexdigest()}
    statuses = []
    for upload in uploads:
        try:
            upload.finish(trailers)
            response = upload.response()
            response.close()
            statuses.append(_status(response))
        except NodeFailure:
            continue
    return statuses


def _sent(upload: BackendUpload, piece: bytes) -> bool:
    try:
        upload.write(piece)
    except NodeFailure:
        return False
    return True


def _enough(statuses: Sequence[int], good: tuple[int, ...], replicas: int = 0) -> bool:
    return sum(status in good for status in statuses) >= quorum_size(replicas or len(statuses))
