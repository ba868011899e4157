"""An object server on a folder, with a transport that keeps what it is given and a clock that stands still."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path
from typing import Any

import msgspec
from xxhash import xxh3_128_hexdigest

from objstore.cluster import Cluster
from objstore.config.object import ObjectConfig
from objstore.config.units import Reserve
from objstore.http.bodies import BytesBody
from objstore.http.messages import Response, variable_of
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.mounts import DeviceRoot
from objstore.object.server import ObjectServer
from objstore.paths import PathHasher, ResourcePath
from objstore.policies import Policies, Policy
from objstore.ring.daemon_context import DaemonContext
from objstore.runtime import Runtime
from objstore.system import concurrency
from tests.doubles import ManualClock, RecordingTransport
from tests.unit.daemon_context import make_context

NOW = 1_700_000_000.0
PATH = "/sda/7/a/c/o"
CONTAINER = {
    "X-Container-Host": "10.0.0.1:6201",
    "X-Container-Device": "sdb",
    "X-Container-Partition": "3",
}
EXPIRES = int(NOW) + 100
QUEUE = {
    "X-Delete-At": str(EXPIRES),
    "X-Delete-At-Host": "10.0.0.9:6201",
    "X-Delete-At-Device": "sdq",
    "X-Delete-At-Partition": "11",
    "X-Delete-At-Container": "1699920000",
}


def at(second: int) -> str:
    """A timestamp, seconds after NOW."""
    return f"{int(NOW) + second:010d}.00000"


class ServedFolder:
    """The server and its folder."""

    def __init__(self, root: Path, limits: Limits | None = None, **storage: object) -> None:
        self.root = root
        (root / "sda").mkdir(exist_ok=True)
        self.transport = RecordingTransport()
        self.clock = ManualClock(running=True)
        self.cluster = Cluster(
            PathHasher("", "s"),
            Policies(
                [
                    Policy(0, "gold"),
                    Policy(1, "silver", default=True),
                    Policy(2, "agreed", consistency="strong"),
                    Policy(3, "coded", kind="erasure_coding", data_fragments=2, parity_fragments=2),
                ]
            ),
            limits or Limits(),
        )
        config = ObjectConfig()
        config = msgspec.structs.replace(config, storage=msgspec.structs.replace(config.storage, **storage))
        self.lines: list[bytes] = []
        self.runtime = Runtime(log=Logger("object", Sink(write=self.lines.append)), clock=self.clock)
        self.devices = DeviceRoot(str(root), False, Reserve())
        self.server = ObjectServer(config, self.cluster, self.devices, self.transport, self.runtime)

    def context(self, **others: Any) -> DaemonContext:
        """Those of a daemon on this machine: see make_context."""
        return make_context(self, others)

    def call(
        self,
        method: str,
        path: str = PATH,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        trailers: dict[str, str] | None = None,
    ) -> Response:
        """Through WSGI's front door."""
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "wsgi.input": BytesBody(body or b"", trailers),
        }
        for name, value in (headers or {}).items():
            environ[variable_of(name)] = value
        if body is not None:
            if trailers is None:
                environ.setdefault("CONTENT_LENGTH", str(len(body)))
            else:
                environ["HTTP_TRANSFER_ENCODING"] = "chunked"
        seen: dict[str, object] = {}

        def start_response(status: str, pairs: list[tuple[str, str]]) -> None:
            seen.update(status=int(status[:3]), headers=dict(pairs))

        chunks = self.server(environ, start_response)
        try:
            content = b"".join(bytes(chunk) for chunk in chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        return Response(seen["status"], seen["headers"], content)  # type: ignore[arg-type]

    def put(self, second: int, body: bytes = b"body", path: str = PATH, **headers: str) -> Response:
        """A PUT with correct checksums; header names with underscores."""
        return self.call("PUT", path, put_headers(second, body) | titled(headers), body)

    def post(self, second: int, path: str = PATH, **headers: str) -> Response:
        return self.call("POST", path, {"X-Timestamp": at(second)} | CONTAINER | titled(headers), b"")

    def delete(self, second: int, path: str = PATH, **headers: str) -> Response:
        return self.call("DELETE", path, {"X-Timestamp": at(second)} | CONTAINER | titled(headers))

    def get(self, path: str = PATH, **headers: str) -> Response:
        return self.call("GET", path, titled(headers))

    def head(self, path: str = PATH, **headers: str) -> Response:
        return self.call("HEAD", path, titled(headers))

    def directory(self, path: str = PATH, data_dir: str = "objects") -> Path:
        """The hash directory of an object."""
        _, device, partition, account, container, name = path.split("/", 5)
        digest = self.cluster.hasher.hexdigest(ResourcePath(account, container, name))
        return self.root / device / data_dir / partition / digest[-3:] / digest

    def names(self, path: str = PATH) -> list[str]:
        """What stands in the hash directory, once what is obsolete has gone."""
        wait_for_discards(self.server._service.engine.device(str(self.root / "sda")))
        return sorted(os.listdir(self.directory(path)))

    def files(self, below: str = "sda") -> list[str]:
        """Every file on the device."""
        return sorted(
            str(file.relative_to(self.root / below)) for file in (self.root / below).rglob("*") if file.is_file()
        )


def wait_for_discards(device: object) -> None:
    """Until a device of the file engine has removed what was replaced."""
    while device._disk.is_discarding:  # type: ignore[attr-defined]
        concurrency.sleep(0)


def put_headers(second: int, body: bytes) -> dict[str, str]:
    return {
        "X-Timestamp": at(second),
        "Content-Type": "text/plain",
        "Etag": md5(body).hexdigest(),
        "X-Backend-Body-Checksum": xxh3_128_hexdigest(body),
    } | CONTAINER


def titled(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-").title(): value for name, value in headers.items()}


def wire(text: str) -> str:
    """Text as WSGI hands it over."""
    return text.encode().decode("latin-1")


__all__ = ["CONTAINER", "NOW", "PATH", "ServedFolder", "at", "put_headers", "wire"]
