"""A proxy over object servers of a strong policy, played by a few lines: floors, and names of what is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import md5
from typing import Any

from objstore.http.messages import Response
from objstore.http.transport import BackendRequest, BackendResponse, BackendUpload, Exchange, NodeFailure
from objstore.policies import Policies, Policy
from tests.unit.proxy.store import Call, FakeExchange, FakeTransport, FakeUpload, Reply, ScriptedStore, refusal

PATH = "/v1/AUTH_a/c/o"
POLICIES = Policies((Policy(0, "gold", default=True, consistency="strong"),))
LATE = "1700000900.00000"


@dataclass
class StrongNode:
    """One object server: the newest write of the object, or what a test makes of it.

    down: it cannot be reached. mute: it does what it is asked, and the answers to these methods are lost.
    """

    names: set[str] = field(default_factory=set)
    body: bytes = b""
    kept: list[bytes] = field(default_factory=list)
    floor: str = ""
    pushed: str = ""
    down: bool = False
    mute: frozenset[str] = frozenset()

    def put(self, stamp: str, body: bytes = b"") -> None:
        self.names, self.body = {f"{stamp}.data"}, body

    @property
    def newest(self) -> str:
        return max((name.rpartition(".")[0] for name in self.names), default="")

    @property
    def state(self) -> str:
        return ",".join(sorted(self.names)) or "-"

    @property
    def is_there(self) -> bool:
        return any(name.endswith(".data") for name in self.names)

    @property
    def seen(self) -> dict[str, str]:
        found = {"X-Backend-State": self.state, "X-Backend-Newest": self.newest, "X-Backend-Pushed": self.pushed}
        if self.is_there:
            length = str(len(self.body))
            etag = md5(self.body).hexdigest()
            found |= {"Etag": etag, "X-Backend-Obj-Content-Length": length, "X-Timestamp": self.newest[:16]}
        return found | {"X-Backend-Timestamp": self.newest, "X-Backend-Floor": self.floor}

    def answer(self, method: str, headers: Mapping[str, str], body: bytes) -> Reply:
        stamp = headers.get("X-Timestamp", "")
        if method in ("GET", "HEAD"):
            return Reply(200 if self.is_there else 404, self.seen, self.body)
        if method == "PREPARE":
            if max(self.floor, self.newest) >= stamp:
                return Reply(409, self.seen)
            self.floor = stamp
            return Reply(200 if self.is_there else 404, self.seen)
        if method in ("PUT", "DELETE", "POST"):
            return self._write(method, stamp, headers, body)
        return Reply(202)

    def _write(self, method: str, stamp: str, headers: Mapping[str, str], body: bytes) -> Reply:
        agreed = "X-Backend-Agreed" in headers
        is_late = stamp != self.floor if agreed else stamp < self.floor
        if name := headers.get("X-Backend-Kept-Body"):
            body = self.kept[int(name)]
        if is_late or self.newest >= stamp or headers.get("X-Backend-State", self.state) != self.state:
            return Reply(409, self.seen)
        was_there = self.is_there
        if method == "POST":
            self.names.add(f"{stamp}.meta")
            return Reply(202)
        self.names, self.body = {f"{stamp}.{'data' if method == 'PUT' else 'ts'}"}, body
        return Reply(201) if method == "PUT" else Reply(204 if was_there else 404)


class _Lost(FakeExchange):
    def response(self) -> BackendResponse:
        raise NodeFailure(self.node, "timeout")


class _Upload(FakeUpload):
    """The node answers when it has the whole body, and sees what it has stored by then."""

    def __init__(self, call: Call, node: StrongNode) -> None:
        super().__init__(call, Reply())
        self._stored_by = node

    def expect(self) -> BackendResponse | None:
        stamp, node = self.call.headers["X-Timestamp"], self._stored_by
        return refusal(409, node.seen) if max(node.floor, node.newest) >= stamp else None

    def response(self) -> BackendResponse:
        node = self._stored_by
        self.reply = node.answer("PUT", {**self.call.headers, **self.call.trailers}, self.call.body)
        if self.reply.status == 409:
            node.kept.append(self.call.body)
            self.reply.headers = {**self.reply.headers, "X-Backend-Kept-Body": str(len(node.kept) - 1)}
        return super().response()


class StrongTransport(FakeTransport):
    """Reaches the nodes of the object; all other servers are scripted."""

    def __init__(self, others: FakeTransport) -> None:
        super().__init__()
        self.nodes = {f"o{number}": StrongNode() for number in range(6)}
        self.others = others

    def start(self, request: BackendRequest, body: bytes = b"", timeout_seconds: float = 10.0) -> Exchange:
        if not request.path.is_object:
            return self.others.start(request, body, timeout_seconds)
        node = self._node(request)
        call = Call(request, body)
        self.calls.append(call)
        if request.method == "REPAIR":
            order = json.loads(body)
            self._push(node, self.nodes[order["device"]], order["names"], request.headers["X-Backend-Agreed"])
        reply = node.answer(request.method, request.headers, body)
        return (_Lost if request.method in node.mute else FakeExchange)(call, reply)

    def _push(self, source: StrongNode, target: StrongNode, names: list[str], agreed: str) -> None:
        if agreed == target.floor and max(names) > max(target.names, default=""):
            target.names, target.body, target.pushed = set(source.names), source.body, source.newest

    def start_upload(self, request: BackendRequest, length: int | None, timeout_seconds: float = 10.0) -> BackendUpload:
        node = self._node(request)
        call = Call(request, complete=False)
        self.calls.append(call)
        return _Upload(call, node)

    def _node(self, request: BackendRequest) -> StrongNode:
        node = self.nodes[request.node.device]
        if node.down:
            raise NodeFailure(request.node, "connect")
        return node


class StrongStore:
    """The edge over these nodes: o0, o1 and o2 are the object's primaries."""

    def __init__(self) -> None:
        self.scripted = ScriptedStore(policies=POLICIES)
        scripted = self.scripted
        self.transport = StrongTransport(scripted.transport)
        context = scripted.context
        for part in (context.objects._reader, context.objects._writer):
            part.transport = self.transport  # type: ignore[misc]
        self.nodes = [self.transport.nodes[f"o{number}"] for number in range(3)]

    def all_have(self, stamp: str, body: bytes = b"") -> None:
        for node in self.nodes:
            node.put(stamp, body)

    def send(self, method: str, headers: Mapping[str, str] | None = None, body: Any = b"") -> Response:
        return self.scripted.send(method, PATH, headers, body)

    def methods(self) -> list[str]:
        """What the object's nodes were asked, in order; a HEAD for names alone is NAMES."""
        return [
            "NAMES" if "X-Backend-Names-Only" in call.headers else call.request.method for call in self.transport.calls
        ]
