"""A proxy over storage servers that are played by the test: each node answers as its script says."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from objstore.cluster import Cluster
from objstore.config.proxy import AccountsConfig, ObjectsConfig, ProxyBackendConfig, ProxyConfig
from objstore.devices import Device
from objstore.errors import StoreError
from objstore.http.bodies import EMPTY_BODY, BytesBody
from objstore.http.messages import Response, variable_of
from objstore.http.transport import (
    BackendRequest,
    BackendResponse,
    BackendUpload,
    Exchange,
    NodeFailure,
    Transport,
)
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.paths import PathHasher
from objstore.policies import Policies, Policy
from objstore.proxy.core.context import make_context
from objstore.proxy.swift import errors
from objstore.proxy.swift.handlers.application import StorageApplication
from objstore.proxy.swift.request import Authorize, SwiftRequest
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from objstore.system.concurrency import Event
from objstore.system.shared_counters import SharedCounters, SharedMarks
from tests.doubles import ManualClock

T = TypeVar("T")

NOW = 1_700_000_000.0
# Waits that are meant to end by their timeout.
GRACE_SECONDS = 0.02
NODE_SECONDS = 0.1


@dataclass
class Reply:
    """What a node does with one request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    streamed: bool = False  # the body comes piece by piece
    breaks_at: int | None = None  # ... and breaks off there
    silent: bool = False  # no answer ever
    late: bool = False  # not before another node was asked, too
    refuses: bool = False  # no connection
    early: bool = False  # of an upload: answers before the body
    stops_at: int | None = None  # of an upload: fails after so many bytes


@dataclass
class Call:
    """A request that a node got."""

    request: BackendRequest
    body: bytes = b""
    trailers: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    abandoned: bool = False

    @property
    def node(self) -> str:
        return self.request.node.device

    @property
    def headers(self) -> Mapping[str, str]:
        return self.request.headers


Script = Callable[[BackendRequest], Reply]


class BrokenBody:
    """Gives its content in pieces of ten bytes, and fails where it was told to."""

    def __init__(self, node: Device, reply: Reply) -> None:
        self.node, self.reply, self.at = node, reply, 0
        self.length: int | None = len(reply.body)
        self.trailers: dict[str, str] = {}
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        while part := self.read(10):
            yield part

    def read(self, size: int = -1) -> bytes:
        end = len(self.reply.body) if size < 0 else self.at + size
        broken = self.reply.breaks_at
        if broken is not None and end > broken:
            end = broken
            if end <= self.at or size < 0:
                raise NodeFailure(self.node, "disconnect")
        part = self.reply.body[self.at : end]
        self.at += len(part)
        return part

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self.closed = True


def refusal(status: int, headers: dict[str, str] | None = None) -> BackendResponse:
    """What a storage server answers that does not do what it is asked."""
    return BackendResponse(status, headers or {}, BytesBody(b""))


class FakeExchange(Exchange):
    """An answer that is there at once, or never."""

    def __init__(self, call: Call, reply: Reply) -> None:
        self.node = call.request.node
        self.call, self.reply = call, reply
        self.never: Event[None] = Event()

    @property
    def ready(self) -> bool:
        return not self.reply.silent

    def ready_within(self, seconds: float) -> bool:
        return self.ready and not self.reply.late

    def watched(self) -> int | Event[None]:
        return self.never

    def response(self) -> BackendResponse:
        if self.reply.silent:
            raise NodeFailure(self.node, "timeout")
        reply = self.reply
        headers = dict(reply.headers)
        if self.call.request.method == "HEAD":
            headers.setdefault("Content-Length", str(len(reply.body)))
            return BackendResponse(reply.status, headers, BytesBody(b""))
        headers["Content-Length"] = str(len(reply.body))
        body = BrokenBody(self.node, reply) if reply.streamed else BytesBody(reply.body)
        return BackendResponse(reply.status, headers, body)

    def abandon(self) -> None:
        self.call.abandoned = True


class FakeUpload(FakeExchange, BackendUpload):
    """Takes a body piece by piece."""

    def expect(self) -> BackendResponse | None:
        return self.response() if self.reply.early or (self.reply.status >= 400 and self.reply.stops_at == 0) else None

    def write(self, chunk: bytes | memoryview) -> None:
        self.call.body += bytes(chunk)
        stops_at = self.reply.stops_at
        if stops_at is not None and len(self.call.body) > stops_at:
            raise NodeFailure(self.node, "disconnect")

    def finish(self, trailers: Mapping[str, str]) -> None:
        self.call.trailers = dict(trailers)
        self.call.complete = True


class FakeTransport(Transport):
    """Hands every request to the script, and keeps what it was."""

    def __init__(self) -> None:
        self.script: Script = lambda request: Reply(404)
        self.calls: list[Call] = []

    def start(self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = 10.0) -> Exchange:
        reply = self._reply(request)
        call = Call(request, body)
        self.calls.append(call)
        return FakeExchange(call, reply)

    def start_upload(self, request: BackendRequest, length: int | None, timeout_seconds: float = 10.0) -> BackendUpload:
        reply = self._reply(request)
        call = Call(request, complete=False)
        self.calls.append(call)
        return FakeUpload(call, reply)

    def _reply(self, request: BackendRequest) -> Reply:
        reply = self.script(request)
        if reply.refuses:
            raise NodeFailure(request.node, "connect")
        return reply


class PlainCache:
    """Keeps everything until it is invalidated."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.generations: dict[str, int] = {}

    def get(self, key: str, kind: type[T]) -> T | None:
        return self.values.get(key)

    def generation(self, key: str) -> int:
        return self.generations.get(key, 0)

    def set(self, key: str, value: object, seconds: float, generation: int) -> None:
        if generation == self.generation(key):
            self.values[key] = value

    def invalidate(self, key: str) -> None:
        self.generations[key] = self.generation(key) + 1
        self.values.pop(key, None)


def make_ring(prefix: str, port: int, devices: int = 6, replicas: int = 3) -> Ring:
    """One partition; the first devices are its primaries, "a0" "a1" ..."""
    nodes = [
        Device(number, 1, number, f"10.0.0.{number}", port, "", 0, f"{prefix}{number}", 100.0)
        for number in range(devices)
    ]
    # Two partitions, so that all devices have some, and handoffs can be found.
    rows = [array("H", [number, (number + replicas) % devices]) for number in range(replicas)]
    return Ring(1, nodes, rows)


class ScriptedStore:
    """The application, the context it works in, and the servers that the test plays.

    The devices of objects are called o0 o1 o2 (primaries of every object, as the hash is fixed) and o3 o4 o5.
    """

    def __init__(
        self,
        accounts: AccountsConfig | None = None,
        replicas: int = 3,
        devices: int = 6,
        container_replicas: int = 3,
        limits: Limits | None = None,
        allow_open_expired: bool = False,
        policies: Policies | None = None,
    ) -> None:
        self.transport = FakeTransport()
        self.clock = ManualClock(NOW)
        self.cache = PlainCache()
        self.rings = SimpleNamespace(
            account=make_ring("a", 6202),
            container=make_ring("c", 6201, replicas=container_replicas),
            object=lambda index: make_ring("o", 6200, devices, replicas),
        )
        config = ProxyConfig(
            accounts=accounts or AccountsConfig(),
            objects=ObjectsConfig(allow_open_expired),
            backend=ProxyBackendConfig(node_timeout=NODE_SECONDS, post_quorum_timeout=GRACE_SECONDS),
        )
        if policies is None:
            names = Policy(0, "gold", default=True), Policy(1, "silver"), Policy(2, "tin", deprecated=True)
            policies = Policies(names)
        runtime = SimpleNamespace(
            log=Logger("proxy", Sink(write=lambda line: None)),
            clock=self.clock,
            random=Random(1),
            threads=SimpleNamespace(call=lambda function, *arguments: function(*arguments)),
            shared_counters=SharedCounters(),
            shared_marks=SharedMarks(),
        )
        cluster = Cluster(cast(PathHasher, FirstPartition()), policies, limits or Limits())
        self.context = make_context(
            config, cluster, cast(Rings, self.rings), self.transport, cast(Runtime, runtime), self.cache
        )
        self.application = StorageApplication(self.context)
        self.account = Reply(204, {"X-Account-Container-Count": "0"})
        self.container = Reply(204, {"X-Backend-Storage-Policy-Index": "0"})
        self.objects: dict[str, Reply] = {}
        self.otherwise = Reply(404)
        self.transport.script = self._script

    def _script(self, request: BackendRequest) -> Reply:
        """Lookups find account and container; objects are as the test has put them, by node."""
        if not request.path.container and request.method in ("HEAD", "GET"):
            return self.account
        if request.path.is_container and request.method == "HEAD":
            return self.container
        return self.objects.get(request.node.device, self.otherwise)

    def calls(self, method: str = "") -> list[Call]:
        """What went to object servers, or to any server with that method."""
        return [
            call
            for call in self.transport.calls
            if (call.request.method == method if method else call.request.path.is_object)
        ]

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = b"",
        query: str = "",
        authorize: Authorize | None = None,
    ) -> Response:
        """A request; a body that is no bytes is a BodyReader, chunked unless there is a Content-Length."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": query,
            "wsgi.input": (BytesBody(body) if body else EMPTY_BODY) if isinstance(body, bytes) else body,
            "wsgi.url_scheme": "http",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
        }
        for name, value in (headers or {}).items():
            environ[variable_of(name)] = value
        if isinstance(body, bytes) and "CONTENT_LENGTH" not in environ and method in ("PUT", "POST"):
            environ["CONTENT_LENGTH"] = str(len(body))
        elif not isinstance(body, bytes) and "CONTENT_LENGTH" not in environ:
            environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        request = SwiftRequest(environ, self.context.cluster.limits)
        request.transaction_id = "tx1"
        request.authorize = authorize
        try:
            return self.application.handler(method, request.kind)(request)
        except StoreError as error:
            return errors.answer_to(error)


class FirstPartition:
    """Hashes everything to the same place."""

    def digest(self, path: object) -> bytes:
        return bytes(16)
