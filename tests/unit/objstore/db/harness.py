"""Container and account servers on a folder, with a clock that tests move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from objstore.account.server import AccountServer
from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.units import Reserve
from objstore.container.server import ContainerServer
from objstore.http.bodies import BytesBody
from objstore.http.messages import Response, WsgiApplication, variable_of
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.mounts import DeviceRoot
from objstore.paths import PathHasher
from objstore.policies import Policies, Policy
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ContainerRow, ObjectRow, decode_container_rows, encode_rows
from objstore.runtime import Runtime
from tests.doubles import ManualClock, RecordingTransport
from tests.unit.daemon_context import make_context

NOW = 1_700_000_000
CONTAINER = "/sda/5/a/c"
ACCOUNT = "/sda/5/a"
TO_ACCOUNTS = {
    "X-Account-Host": "10.0.0.1:6202,10.0.0.2:6202",
    "X-Account-Device": "sdx,sdy",
    "X-Account-Partition": "3",
}


def at(second: float) -> str:
    """A timestamp, seconds after NOW."""
    return f"{NOW + second:016.5f}"


class Servers:
    """A container server and an account server with one device, sda."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.device = root / "sda"
        self.device.mkdir(exist_ok=True)
        self.transport = RecordingTransport(decode=decode_container_rows)
        self.clock = ManualClock(running=True)
        policies = Policies([Policy(0, "gold", default=True), Policy(1, "silver")])
        self.cluster = Cluster(PathHasher("", "s"), policies, Limits())
        self.lines: list[bytes] = []
        sink = Sink()
        sink.write = self.lines.append
        self.runtime = Runtime(log=Logger("test", sink), clock=self.clock)
        self.devices = DeviceRoot(str(root), False, Reserve())
        self.container = self.new_container_server()
        self.account = self.new_account_server()

    def context(self, **others: Any) -> DaemonContext:
        """Those of a daemon on this machine: see make_context."""
        return make_context(self, others)

    def new_container_server(self) -> ContainerServer:
        """Another one on the same devices, as another process would have it."""
        return ContainerServer(ContainerConfig(), self.cluster, self.devices, self.transport, self.runtime)

    def new_account_server(self) -> AccountServer:
        """As `new_container_server`."""
        return AccountServer(AccountConfig(), self.cluster, self.devices, self.runtime)

    def call(
        self,
        server: WsgiApplication,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        query: str = "",
    ) -> Response:
        """Through WSGI's front door."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesBody(body),
        }
        for name, value in (headers or {}).items():
            environ[variable_of(name)] = value
        seen: dict[str, Any] = {}

        def start_response(status: str, pairs: list[tuple[str, str]]) -> None:
            seen.update(status=int(status[:3]), headers=dict(pairs))

        content = b"".join(server(environ, start_response))
        return Response(seen["status"], seen["headers"], content)

    def to_container(
        self, method: str, second: float = 0, path: str = CONTAINER, query: str = "", **headers: str
    ) -> Response:
        """Header names with underscores."""
        return self.call(self.container, method, path, {"X-Timestamp": at(second)} | titled(headers), b"", query)

    def to_account(
        self, method: str, second: float = 0, path: str = ACCOUNT, query: str = "", **headers: str
    ) -> Response:
        return self.call(self.account, method, path, {"X-Timestamp": at(second)} | titled(headers), b"", query)

    def update(self, rows: Sequence[ObjectRow], path: str = CONTAINER, **headers: str) -> Response:
        return self.call(self.container, "UPDATE", path, titled(headers), encode_rows(rows))

    def update_account(self, rows: Sequence[ContainerRow], path: str = ACCOUNT, **headers: str) -> Response:
        return self.call(self.account, "UPDATE", path, titled(headers), encode_rows(rows))

    def listed(self, query: str = "", path: str = CONTAINER, **headers: str) -> list[dict[str, Any]]:
        answer = self.to_container("GET", 0, path, f"format=json&{query}", **headers)
        assert answer.status == 200
        rows: list[dict[str, Any]] = msgspec.json.decode(answer.body)  # type: ignore[arg-type]
        return rows

    def listed_containers(self, query: str = "", path: str = ACCOUNT) -> list[dict[str, Any]]:
        answer = self.to_account("GET", path=path, query=f"format=json&{query}")
        assert answer.status == 200
        rows: list[dict[str, Any]] = msgspec.json.decode(answer.body)  # type: ignore[arg-type]
        return rows

    def database_file(self, folder: str = "containers") -> Path:
        """The only one there is."""
        (found,) = (self.device / folder).glob("*/*/*/*.db")
        return found


def titled(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def row(name: str, second: float = 1, size: int = 1, etag: str = "etag", **fields: Any) -> ObjectRow:
    return ObjectRow(name, at(second), size, "text/plain", etag, **fields)
