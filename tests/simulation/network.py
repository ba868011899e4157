"""The network between the nodes: it delays, loses, repeats and reorders, cuts partitions, and breaks bodies off."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import msgspec

from objstore.devices import Device
from objstore.headers import Client
from objstore.http.bodies import EMPTY_BODY, BytesBody
from objstore.http.local import LocalExchange, LocalUpload, environ_of, streamed
from objstore.http.messages import Environ, WsgiApplication
from objstore.http.transport import (
    NODE_TIMEOUT_SECONDS,
    BackendRequest,
    BackendResponse,
    BackendUpload,
    Exchange,
    NodeFailure,
    Transport,
)
from objstore.http.unresponsive import UnresponsiveServers
from objstore.system import concurrency
from objstore.system.hub import GreenletExit
from tests.simulation.hub import Owner, current_operation, current_owner, spawn_for

CONNECT_SECONDS: Final = 0.5
PIECE_BYTES: Final = 16384
SMALL_BODY_BYTES: Final = 4096


class Host(Protocol):
    """Who can be reached at an address."""

    name: str
    owner: Owner | None  # None while it is down
    servers: dict[int, WsgiApplication]  # by port


@dataclass
class NetworkConditions:
    """How bad the network is: rates of what happens to a message, and seconds of delay."""

    lost: float = 0.0
    repeated: float = 0.0
    broken: float = 0.0
    delayed: float = 0.0
    delay_seconds: float = 2.0


@dataclass(eq=False)
class Network:
    """All links. `cut` holds pairs (from, to) between which nothing passes."""

    random: Random
    note: Callable[..., None]
    hosts: dict[str, Host] = field(default_factory=dict)  # by address
    cut: set[tuple[str, str]] = field(default_factory=set)
    conditions: NetworkConditions = field(default_factory=NetworkConditions)
    written: Callable[[int, BackendRequest], None] = lambda operation, request: None
    requests: int = 0

    def happens(self, rate: float) -> bool:
        return rate > 0 and self.random.random() < rate

    def delay(self) -> float:
        seconds = self.random.uniform(0.0002, 0.003)
        if self.happens(self.conditions.delayed):
            seconds += self.random.expovariate(1 / self.conditions.delay_seconds)
        return seconds

    def passes(self, source: str, target: str) -> bool:
        """Whether a message gets through."""
        return (source, target) not in self.cut and not self.happens(self.conditions.lost)


class SimulatedTransport(Transport):
    """What one node reaches the others with."""

    def __init__(self, network: Network, source: str) -> None:
        self._network = network
        self._source = source
        self._unresponsive = UnresponsiveServers()

    def is_unresponsive(self, node: Device) -> bool:
        """See Transport."""
        return self._unresponsive.is_unresponsive(node)

    def _connect(self, request: BackendRequest, timeout_seconds: float) -> Host:
        """The host, if it listens. Waits as long as a connection takes to fail."""
        network = self._network
        owner, operation = current_owner(), current_operation()
        if owner is not None:
            owner.check()
        if (reason := self._unresponsive.refusal(request.node, timeout_seconds)) is not None:
            raise NodeFailure(request.node, reason)
        network.requests += 1
        if operation is not None and not _is_decided_later(request):
            network.written(operation, request)
        host = network.hosts.get(request.node.ip)
        if host is None or (self._source, host.name) in network.cut or (host.name, self._source) in network.cut:
            started = concurrency.monotonic()
            concurrency.sleep(CONNECT_SECONDS)
            self._unresponsive.unanswered(request.node, started)
            raise NodeFailure(request.node, "connect")
        if host.owner is None:
            concurrency.sleep(network.delay())
            raise NodeFailure(request.node, "connection refused")
        return host

    def start(
        self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> Exchange:
        """See Transport."""
        host = self._connect(request, timeout_seconds)
        exchange = SimulatedExchange(request, timeout_seconds, self._unresponsive)
        spawn_for(None, current_operation(), self._carry, host, request, bytes(body), exchange)
        return exchange

    def _carry(self, host: Host, request: BackendRequest, body: bytes, exchange: SimulatedExchange) -> None:
        """Bring the request there, and the answer back."""
        network = self._network
        concurrency.sleep(network.delay())
        if not network.passes(self._source, host.name):
            return
        if network.happens(network.conditions.repeated):
            spawn_for(None, None, self._repeat, host, request, body)
        answer = serve(host, request, body)
        concurrency.sleep(network.delay())
        if not network.passes(host.name, self._source):
            return
        if isinstance(answer, Answer) and len(answer.body) and network.happens(network.conditions.broken):
            answer.broken_at = network.random.randrange(len(answer.body))
        exchange.settle(answer)

    def _repeat(self, host: Host, request: BackendRequest, body: bytes) -> None:
        """Send the request a second time, later."""
        concurrency.sleep(min(self._network.delay() * self._network.random.choice((0.5, 2, 50, 1000)), 3600.0))
        if host.owner is not None:
            self._network.note(host.name, "repeated", request.method, request.path)
            serve(host, request, body)

    def start_upload(
        self, request: BackendRequest, length: int | None, timeout_seconds: float = NODE_TIMEOUT_SECONDS
    ) -> BackendUpload:
        """See Transport."""
        host = self._connect(request, timeout_seconds)
        network = self._network
        breaks_after = network.random.randrange(4) if network.happens(network.conditions.broken) else None
        operation = current_operation()

        def written(trailers: Mapping[str, str]) -> None:
            """The time of some writes comes behind their body."""
            if operation is not None and Client.TIMESTAMP in trailers:
                headers = {**request.headers, **trailers}
                network.written(
                    operation, BackendRequest("PUT", request.node, request.partition, request.path, headers)
                )

        upload = SimulatedUpload(request, timeout_seconds, self._unresponsive, breaks_after, written)
        environ = environ_of(request, upload.body)
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        environ["HTTP_EXPECT"] = "100-continue"
        if length is not None:
            environ["HTTP_X_BACKEND_OBJ_CONTENT_LENGTH"] = str(length)
        spawn_for(None, current_operation(), self._carry_upload, host, request, environ, upload)
        return upload

    def _carry_upload(self, host: Host, request: BackendRequest, environ: Environ, upload: SimulatedUpload) -> None:
        network = self._network
        concurrency.sleep(network.delay())
        if not network.passes(self._source, host.name):
            return
        answer = run_on(host, request, environ)
        upload.body.stop_reading()
        concurrency.sleep(network.delay())
        if network.passes(host.name, self._source):
            upload.settle(answer)


def _is_decided_later(request: BackendRequest) -> bool:
    """Whether the time of a write comes behind its body: the one in front of it is only asked about."""
    return Client.TIMESTAMP in request.headers.get(Client.TRAILER, "")


@dataclass
class Answer:
    """What an application has answered, whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    broken_at: int | None = None
    failed_at: bool = False  # the server itself broke off


def rows_in(answer: Answer | None) -> list[dict[str, Any]] | None:
    """What a listing shows; None if it has not come, or not whole."""
    if answer is None or answer.status != 200 or answer.failed_at:
        return None
    if len(answer.body) != int(answer.headers.get("Content-Length", "-1")):
        return None
    rows: list[dict[str, Any]] = msgspec.json.decode(answer.body)
    return rows


def serve(host: Host, request: BackendRequest, body: bytes) -> Answer | str:
    """The application's answer to a request that has arrived; a reason if there is none."""
    environ = environ_of(request, BytesBody(body) if body else EMPTY_BODY)
    if body or request.method not in ("GET", "HEAD"):
        environ["CONTENT_LENGTH"] = str(len(body))
    return run_on(host, request, environ)


def run_on(host: Host, request: BackendRequest, environ: Environ) -> Answer | str:
    """Run the application in a greenlet of the host's."""
    owner = host.owner
    application = host.servers.get(request.node.port)
    if owner is None or application is None:
        return "connection refused"
    task = spawn_for(owner, current_operation(), _call, application, environ)
    try:
        answer: Answer = task.wait()
    except GreenletExit:
        return "disconnect"
    except Exception as error:
        return f"the server failed: {error!r}"
    return answer


def _call(application: WsgiApplication, environ: Environ) -> Answer:
    answer = Answer(0, {}, b"")

    def start_response(line: str, pairs: list[tuple[str, str]], exc_info: Any = None) -> None:
        answer.status, answer.headers = int(line[:3]), dict(pairs)

    result: Iterable[bytes] = application(environ, start_response)
    parts: list[bytes] = []
    try:
        for part in result:
            parts.append(bytes(part))
            if len(parts) % 4 == 0:
                concurrency.sleep(0)
    except Exception:
        answer.failed_at = True
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    answer.body = b"".join(parts)
    return answer


class _Settling(LocalExchange):
    """An exchange whose answer comes over the network."""

    def __init__(self, request: BackendRequest, timeout_seconds: float, unresponsive: UnresponsiveServers) -> None:
        super().__init__(request, timeout_seconds)
        self._asked_at = concurrency.monotonic()
        self._unresponsive = unresponsive

    def _give_up(self, reason: str) -> None:
        if reason != "disconnect":
            self._unresponsive.unanswered(self.node, self._asked_at)
        super()._give_up(reason)

    def settle(self, answer: Answer | str) -> None:
        """The answer has arrived, or the news that there will be none."""
        if self._answer is not None:
            return
        if isinstance(answer, str):
            self._answer = NodeFailure(self.node, answer)
        else:
            self._answer = BackendResponse(answer.status, answer.headers, self._received(answer))
            self._unresponsive.answered(self.node)
        self._done.set()

    def _received(self, answer: Answer) -> Any:
        if self._bodiless or answer.status in (204, 304):
            return BytesBody(b"")
        broken = answer.broken_at is not None or answer.failed_at
        if not broken and len(answer.body) <= SMALL_BODY_BYTES:
            return BytesBody(answer.body)
        length = answer.headers.get("Content-Length")
        return streamed(_pieces(answer, self.node), None if length is None else int(length), self.node)


def _pieces(answer: Answer, node: Device) -> Iterator[bytes]:
    end = len(answer.body) if answer.broken_at is None else answer.broken_at
    for start in range(0, end, PIECE_BYTES):
        yield answer.body[start : min(start + PIECE_BYTES, end)]
    if answer.failed_at or answer.broken_at is not None:
        raise NodeFailure(node, "disconnect")


class SimulatedExchange(_Settling):
    """A whole request."""


class SimulatedUpload(_Settling, LocalUpload):
    """A request whose body follows; it may break after a few pieces."""

    def __init__(
        self,
        request: BackendRequest,
        timeout_seconds: float,
        unresponsive: UnresponsiveServers,
        breaks_after: int | None,
        written: Callable[[Mapping[str, str]], None],
    ) -> None:
        super().__init__(request, timeout_seconds, unresponsive)
        self._breaks_after = breaks_after
        self._pieces = 0
        self._written = written

    def finish(self, trailers: Mapping[str, str]) -> None:
        """See BackendUpload."""
        self._written(trailers)
        super().finish(trailers)

    def write(self, chunk: bytes | memoryview) -> None:
        """See BackendUpload."""
        self._pieces += 1
        if self._breaks_after is not None and self._pieces > self._breaks_after:
            self._give_up("disconnect")
        # A copy: over a network the server's reading is not bound to the sender's next piece.
        super().write(bytes(chunk))
