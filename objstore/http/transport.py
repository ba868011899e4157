"""How the proxy and the servers reach a storage server: one interface, whether over the network or in this process."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, TypeVar
from urllib.parse import quote

import msgspec

from objstore.devices import Device
from objstore.errors import StoreError
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader
from objstore.paths import ResourcePath
from objstore.system import concurrency
from objstore.system.concurrency import Event

Message = TypeVar("Message")
NODE_TIMEOUT_SECONDS: Final = 10.0
RESPONSE_BYTES_MAX: Final = 64 * 1024 * 1024  # what `read_all` takes at most unless told otherwise


@dataclass(eq=False)
class NodeFailure(StoreError):
    """A storage server could not be reached, did not answer in time, or broke off."""

    message: ClassVar[str] = "{node.address}/{node.device}: {reason}"

    node: Device
    reason: str


@dataclass(eq=False)
class ReplicaFailed(StoreError):
    """A peer did not do its part of a replication; `status` is its answer's, 0 if there was none."""

    message: ClassVar[str] = "{node.address}/{node.device}: {reason}"

    node: Device
    status: int
    reason: str

    @property
    def device_gone(self) -> bool:
        """Whether the server is there and its device is not, or is full."""
        return self.status == 507


class BackendRequest:
    """One request to one storage server. Header values are native strings (Latin-1), as everywhere."""

    __slots__ = ("headers", "method", "node", "partition", "path", "query")

    def __init__(
        self,
        method: str,
        node: Device,
        partition: int,
        path: ResourcePath,
        headers: Mapping[str, str],
        query: str = "",
    ) -> None:
        """`query` is already quoted; the URL is /{device}/{partition}/{account}[/{container}[/{object}]]."""
        self.method = method
        self.node = node
        self.partition = partition
        self.path = path
        self.headers = headers
        self.query = query

    @property
    def target(self) -> str:
        """The request target on the wire."""
        target = quote(f"/{self.node.device}/{self.partition}{self.path}")
        return f"{target}?{self.query}" if self.query else target

    def head(self, *framing: str) -> bytes:
        """The head on the wire; ValueError if a header smuggles in a line of its own."""
        lines = [self.method, " ", self.target, " HTTP/1.1\r\nHost: ", self.node.address, "\r\n"]
        for name, value in self.headers.items():
            lines += (name, ": ", value, "\r\n")
        for line in framing:
            lines += (line, "\r\n")
        lines.append("\r\n")
        text = "".join(lines)
        ends = len(self.headers) + len(framing) + 3
        if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
            raise ValueError("a request header holds a control character")
        return text.encode("latin-1")


class BackendBody(BodyReader, Protocol):
    """The body of an answer: read it, or iterate over chunks that are valid until the next one is asked for.

    Breaking off raises NodeFailure. `length` is None when it was not announced.
    """

    length: int | None

    def __iter__(self) -> Iterator[bytes | memoryview]: ...

    def close(self) -> None:
        """Let go of it, read or not."""


class BackendResponse:
    """What a storage server answered; the names of the headers are in canonical spelling."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: BackendBody) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def read_all(self, limit: int = RESPONSE_BYTES_MAX) -> bytes:
        """The whole body, and close; raises ValueError if it is longer than `limit`."""
        try:
            if self.body.length is not None and self.body.length <= limit:
                return self.body.read()
            parts, size = [], 0
            while part := self.body.read(65536):
                size += len(part)
                if size > limit:
                    raise ValueError(f"the answer is longer than {limit} bytes")
                parts.append(part)
            return b"".join(parts)
        finally:
            self.body.close()

    def close(self) -> None:
        self.body.close()


class Exchange(ABC):
    """A request that is under way to one node."""

    __slots__ = ("node",)

    node: Device

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether `response` would return, or raise, without waiting."""

    def ready_within(self, seconds: float) -> bool:
        """Wait until it is ready; False if it is not within that time."""
        return self.ready or bool(wait_any((self,), seconds))

    @abstractmethod
    def response(self) -> BackendResponse:
        """Wait for the answer; raises NodeFailure."""

    @abstractmethod
    def abandon(self) -> None:
        """Give up on it: the answer, if one comes, is not wanted."""

    @abstractmethod
    def watched(self) -> int | Event[None]:
        """What to wait for until it is ready: a descriptor to become readable, or an event."""


class BackendUpload(Exchange):
    """A request whose body is sent piece by piece, with trailers after it."""

    __slots__ = ()

    @abstractmethod
    def expect(self) -> BackendResponse | None:
        """Wait for leave to send the body: None, or the final answer if the node refuses. Raises NodeFailure."""

    @abstractmethod
    def write(self, chunk: bytes | memoryview) -> None:
        """Send a piece. It must stay unchanged until the next `write` or `finish` returns. Raises NodeFailure."""

    @abstractmethod
    def finish(self, trailers: Mapping[str, str]) -> None:
        """End the body; now `response` gives the answer. Raises NodeFailure."""


class Transport(ABC):
    """A way to reach storage servers."""

    def is_unresponsive(self, node: Device) -> bool:
        """Whether the node's server lately answered nothing: a request to it fails at once, or is a probe."""
        return False

    @abstractmethod
    def start(
        self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> Exchange:
        """Send a whole request without waiting for its answer, which must begin within `timeout_seconds`.

        Raises NodeFailure when the node cannot be reached.
        """

    def ask(self, request: BackendRequest, timeout_seconds: float = NODE_TIMEOUT_SECONDS) -> Exchange:
        """Send a HEAD that a server of this process may go on to answer while the caller does other things, too.

        Raises NodeFailure.
        """
        return self.start(request, b"", timeout_seconds)

    @abstractmethod
    def start_upload(
        self, request: BackendRequest, length: int | None, timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> BackendUpload:
        """Send the head of a request whose body follows; `length` is a hint, None if not known. Raises NodeFailure."""

    def request(
        self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> BackendResponse:
        """Send a whole request and wait for its answer; raises NodeFailure."""
        return self.start(request, body, timeout_seconds).response()


def wait_any(exchanges: Sequence[Exchange], timeout_seconds: float | None) -> list[Exchange]:
    """Wait until one of them is ready; all that are, or [] when none is within `timeout_seconds`."""
    deadline = None if timeout_seconds is None else concurrency.monotonic() + timeout_seconds
    while True:
        ready = [exchange for exchange in exchanges if exchange.ready]
        if ready or not exchanges:
            return ready
        left = None if deadline is None else deadline - concurrency.monotonic()
        if left is not None and left <= 0:
            return []
        watched = [exchange.watched() for exchange in exchanges]
        concurrency.wait_any_readable(
            [item for item in watched if isinstance(item, int)],
            [item for item in watched if not isinstance(item, int)],
            left,
        )


def good_content(node: Device, response: BackendResponse, size_max: int) -> bytes:
    """The body of a peer's 2xx answer. Raises ReplicaFailed on any other, NodeFailure."""
    try:
        content = response.read_all(size_max)
    except ValueError as error:
        raise ReplicaFailed(node, 0, str(error)) from error
    if response.status // 100 != 2:
        reason = content.decode("utf-8", "replace").strip() or str(response.status)
        raise ReplicaFailed(node, response.status, reason)
    return content


def decoded(decoder: msgspec.json.Decoder[Message], node: Device, body: bytes) -> Message:
    """What a peer's answer says. Raises ReplicaFailed."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, HttpError) as error:
        raise ReplicaFailed(node, 0, f"an answer that cannot be read: {error}") from error
