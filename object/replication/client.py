"""Requests to the servers that hold other replicas of a partition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.http.transport import (
    BackendBody,
    BackendRequest,
    NodeFailure,
    ReplicaFailed,
    Transport,
    decoded,
    good_content,
)
from objstore.object.replication.messages import (
    ACCOUNT,
    COMPARE_RESPONSES,
    CONTACT_RECORD,
    CONTACT_RECORDS,
    MESSAGE_BYTES_MAX,
    METHOD,
    NAMES,
    PART_POWER,
    RING_VERSION,
    TRANSFER_RESULTS,
    CompareRequest,
    CompareResponse,
    Names,
    ReplicationStep,
    TransferResult,
    Versions,
    encode,
)
from objstore.object.versions import is_suffix
from objstore.paths import ResourcePath
from objstore.policies import Policy

TOO_LARGE: Final = 413
Spend = Callable[[int], None]  # told how many bytes are sent; may wait


class Reply(Struct, frozen=True):
    headers: dict[str, str]
    content: bytes


class ReplicationClient:
    """Asks peers about one policy's partitions, as they are numbered by a part power."""

    def __init__(self, transport: Transport, policy: Policy, part_power: int | None, timeout_seconds: float) -> None:
        """`part_power` is None where no ring is at hand: then the peer's own holds."""
        self.policy_index = policy.index
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._headers = {
            Client.CONTENT_TYPE: "application/json",
            Backend.POLICY_INDEX: str(policy.index),
        }
        if part_power is not None:
            self._headers[PART_POWER] = str(part_power)

    def compare(self, node: Device, questions: Sequence[CompareRequest]) -> list[CompareResponse]:
        """How a device's partitions differ from these. Raises ReplicaFailed."""
        body = self._ask(self._request(ReplicationStep.COMPARE, node, 0), encode(questions))
        answers = decoded(COMPARE_RESPONSES, node, body)
        if len(answers) != len(questions):
            raise ReplicaFailed(node, 0, f"{len(answers)} answers to {len(questions)} questions")
        if not all(is_suffix(name) for answer in answers for name in answer.suffixes or ()):
            raise ReplicaFailed(node, 0, "an answer names what is no suffix")
        return answers

    def versions(self, node: Device, partition: int, suffixes: Sequence[str]) -> Versions:
        """The files of each hash of some suffixes; of fewer at a time, if they are too many for one answer.

        Raises ReplicaFailed.
        """
        try:
            reply = self._reply(self._request(ReplicationStep.VERSIONS, node, partition), encode(suffixes))
        except ReplicaFailed as failure:
            if failure.status != TOO_LARGE or len(suffixes) < 2:
                raise
            half = len(suffixes) // 2
            one, other = (self.versions(node, partition, some) for some in (suffixes[:half], suffixes[half:]))
            return Versions(one.names | other.names, one.note)
        noted = reply.headers.get(CONTACT_RECORD)
        note = None if noted is None else decoded(CONTACT_RECORDS, node, noted.encode())
        return Versions(decoded(NAMES, node, reply.content), note)

    def confirm(self, node: Device, partition: int, names: Mapping[str, Sequence[str]], ring_version: int) -> Names:
        """Which of these files a primary holds durably. Raises ReplicaFailed."""
        headers = {RING_VERSION: str(ring_version)}
        body = self._ask(self._request(ReplicationStep.CONFIRM, node, partition, headers), encode(names))
        return decoded(NAMES, node, body)

    def promise(self, node: Device, partition: int, path: ResourcePath, timestamp: str) -> None:
        """Have a device take no write of an object before `timestamp` any more. Raises ReplicaFailed."""
        headers = {Client.TIMESTAMP: timestamp, Backend.POLICY_INDEX: str(self.policy_index)}
        request = BackendRequest("PREPARE", node, partition, path, headers)
        try:
            response = self._transport.request(request, b"", self._timeout_seconds)
        except NodeFailure as failure:
            raise ReplicaFailed(node, 0, failure.reason) from failure
        response.close()
        # A later promise holds as well. Who has a newer write refuses older ones, too.
        later = max(response.headers.get(name, "") for name in (Backend.FLOOR, Backend.NEWEST))
        if response.status not in (200, 404) and not (response.status == 409 and later >= timestamp):
            raise ReplicaFailed(node, response.status, "it does not promise to take no older write")

    def push(
        self,
        node: Device,
        partition: int,
        frames: Iterator[bytes | memoryview],
        spend: Spend,
        agreed: str = "",
    ) -> list[TransferResult]:
        """Send frames; what became of each. `agreed`: the write for which they have been prepared.

        Raises ReplicaFailed, and what `frames` raises.
        """
        request = self._request(ReplicationStep.PUSH, node, partition, {Backend.AGREED: agreed} if agreed else None)
        try:
            upload = self._transport.start_upload(request, None, self._timeout_seconds)
            try:
                refusal = upload.expect()
                if refusal is None:
                    for piece in frames:
                        spend(len(piece))
                        upload.write(piece)
                    upload.finish({})
            except BaseException:
                upload.abandon()
                raise
            return decoded(TRANSFER_RESULTS, node, good_content(node, refusal or upload.response(), MESSAGE_BYTES_MAX))
        except NodeFailure as failure:
            raise ReplicaFailed(node, 0, failure.reason) from failure

    def pull(self, node: Device, partition: int, names: Mapping[str, Sequence[str]]) -> BackendBody:
        """Frames of files that a peer has; the caller closes. Raises ReplicaFailed; reading raises NodeFailure."""
        try:
            response = self._transport.request(
                self._request(ReplicationStep.PULL, node, partition), encode(names), self._timeout_seconds
            )
        except NodeFailure as failure:
            raise ReplicaFailed(node, 0, failure.reason) from failure
        if response.status != 200:
            good_content(node, response, MESSAGE_BYTES_MAX)
        return response.body

    def _request(
        self, kind: ReplicationStep, node: Device, partition: int, headers: Mapping[str, str] | None = None
    ) -> BackendRequest:
        sent = {**self._headers, **(headers or {})}
        return BackendRequest(METHOD, node.on_replication, partition, ResourcePath(ACCOUNT), sent, f"step={kind.value}")

    def _ask(self, request: BackendRequest, body: bytes) -> bytes:
        return self._reply(request, body).content

    def _reply(self, request: BackendRequest, body: bytes) -> Reply:
        try:
            response = self._transport.request(request, body, self._timeout_seconds)
            return Reply(response.headers, good_content(request.node, response, MESSAGE_BYTES_MAX))
        except NodeFailure as failure:
            raise ReplicaFailed(request.node, 0, failure.reason) from failure
