"""Requests to the servers that hold other replicas of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic

import msgspec

from objstore.db.description import Description, Row
from objstore.db.messages import (
    ANSWERS,
    BATCH_BYTES_MAX,
    COMPARED_ACCOUNT,
    MERGED,
    METHOD,
    Answer,
    Batch,
    Kind,
    Merged,
    Message,
    Question,
    batch_decoder,
    encode,
)
from objstore.devices import Device
from objstore.errors import StoreError
from objstore.headers import Client
from objstore.http.transport import BackendRequest, NodeFailure, Transport
from objstore.paths import ResourcePath

_HEADERS: Final[Mapping[str, str]] = {Client.CONTENT_TYPE: "application/json"}


@dataclass(eq=False)
class PeerFailed(StoreError):
    """A peer did not do its part; `status` is what it answered, 0 if it did not."""

    message: ClassVar[str] = "{node.address}/{node.device}: {reason}"

    node: Device
    status: int
    reason: str

    @property
    def device_gone(self) -> bool:
        """Whether the server is there and its device is not."""
        return self.status == 507


class Peers(Generic[Row]):
    """Asks peers of one kind of database."""

    def __init__(self, description: Description[Row], transport: Transport, timeout_seconds: float) -> None:
        self.transport = transport
        self.timeout_seconds = timeout_seconds
        self._batches = batch_decoder(description)

    def compare(self, node: Device, questions: Sequence[Question]) -> list[Answer]:
        """What a device has of some databases. Raises PeerFailed."""
        request = self._request(Kind.COMPARE, node, 0, ResourcePath(COMPARED_ACCOUNT))
        body = self._ask(request, encode(questions))
        answers = self._read(ANSWERS, node, body)
        if len(answers) != len(questions):
            raise PeerFailed(node, 0, f"{len(answers)} answers to {len(questions)} questions")
        return answers

    def merge(self, node: Device, partition: int, path: ResourcePath, batch: Batch[Row]) -> Merged:
        """Have a batch merged. Raises PeerFailed."""
        body = self._ask(self._request(Kind.MERGE, node, partition, path), encode(batch))
        return self._read(MERGED, node, body)

    def rows(self, node: Device, partition: int, path: ResourcePath, after: int, limit: int) -> Batch[Row]:
        """Rows of a peer. Raises PeerFailed."""
        request = self._request(Kind.ROWS, node, partition, path, f"&after={after}&limit={limit}")
        body = self._ask(request, b"")
        return self._read(self._batches, node, body)

    def whole(self, node: Device, partition: int, path: ResourcePath) -> BackendRequest:
        """The head of a request that brings a snapshot."""
        return self._request(Kind.WHOLE, node, partition, path)

    def _request(self, kind: Kind, node: Device, partition: int, path: ResourcePath, more: str = "") -> BackendRequest:
        return BackendRequest(METHOD, node.on_replication, partition, path, _HEADERS, f"step={kind.value}{more}")

    def _ask(self, request: BackendRequest, body: bytes) -> bytes:
        try:
            response = self.transport.request(request, body, self.timeout_seconds)
            content = response.read_all(BATCH_BYTES_MAX)
        except NodeFailure as failure:
            raise PeerFailed(request.node, 0, failure.reason) from failure
        except ValueError as error:
            raise PeerFailed(request.node, 0, str(error)) from error
        if response.status // 100 != 2:
            reason = content.decode("utf-8", "replace").strip() or str(response.status)
            raise PeerFailed(request.node, response.status, reason)
        return content

    @staticmethod
    def _read(decoder: msgspec.json.Decoder[Message], node: Device, body: bytes) -> Message:
        try:
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise PeerFailed(node, 0, f"an answer that cannot be read: {error}") from error
