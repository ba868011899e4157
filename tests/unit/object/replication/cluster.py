"""A few object servers in one process, each with a device, a ring over them, and a replicator for each."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from xxhash import xxh3_128_hexdigest

from objstore.cluster import Cluster
from objstore.config.object import ObjectConfig, ReplicatorConfig, StorageConfig
from objstore.config.units import Reserve
from objstore.daemon import run_once
from objstore.devices import Device
from objstore.http.local import LocalTransport
from objstore.http.messages import WsgiApplication
from objstore.http.transport import BackendRequest, BackendResponse
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.mounts import DeviceRoot
from objstore.object.container_updates.correction import RowCorrection
from objstore.object.engine import DeviceStorage, Location, Missing, StoredObject, make_engine
from objstore.object.replication.replicator import ObjectReplicator
from objstore.object.server import ObjectServer
from objstore.object.versions import live_names
from objstore.paths import PathHasher, ResourcePath
from objstore.policies import Policies, Policy
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from tests.doubles import ManualClock
from tests.unit.daemon_context import NoRecon
from tests.unit.object.harness import NOW, at

PARTITION = 0
DAY = 86_400


class LowHasher(PathHasher):
    """All paths belong to partition 0 of two."""

    def digest(self, path: ResourcePath) -> bytes:
        first, *rest = super().digest(path)
        return bytes([first & 0x7F, *rest])


@dataclass
class Server:
    """One object server with one device, "sda"."""

    number: int
    root: Path
    runtime: Runtime
    devices: DeviceRoot
    application: ObjectServer
    down: bool = False


@dataclass
class Replicas:
    """All servers; the ring has a partition whose primaries are the first `replicas` of them."""

    folder: Path
    count: int = 4
    replicas: int = 3
    engine: str = "file"
    clock: ManualClock = field(default_factory=lambda: ManualClock(running=True))
    lines: list[bytes] = field(default_factory=list)
    requests: list[BackendRequest] = field(default_factory=list)
    before_request: Callable[[BackendRequest], None] = lambda _request: None

    def __post_init__(self) -> None:
        self.devices = [
            Device(number, 1, number, "10.0.0.1", 6200 + number, "10.0.0.1", 6200 + number, "sda", 100.0)
            for number in range(self.count)
        ]
        self.rings = [self.ring_of(range(self.replicas)) for _ in range(self.count)]
        self.cluster = Cluster(LowHasher("p", "s"), Policies([Policy(0, "gold")]), Limits())
        self.transport = LocalTransport(self._application_of)
        self.servers = [self._server(number) for number in range(self.count)]

    def ring_of(self, primaries: Any, version: int = 1) -> Ring:
        """A ring of two partitions: the one that is used, and one that lies on other devices."""
        rows = [array("H", [number, (number + 1) % self.count]) for number in primaries]
        return Ring(1, self.devices, rows, version)

    def use(self, ring: Ring, *numbers: int) -> None:
        """These servers, or all, have got this ring."""
        for number in numbers or range(self.count):
            self.rings[number] = ring

    def _server(self, number: int) -> Server:
        root = self.folder / str(number)
        (root / "sda").mkdir(parents=True)
        runtime = Runtime(log=Logger(f"server{number}", Sink(write=self.lines.append)), clock=self.clock)
        devices = DeviceRoot(str(root), False, Reserve())
        application = ObjectServer(
            ObjectConfig(storage=StorageConfig(engine=self.engine)),
            self.cluster,
            devices,
            self.transport,
            runtime,
            lambda _index: self.rings[number],
            lambda device: device.id == number,
        )
        return Server(number, root, runtime, devices, application)

    def _application_of(self, request: BackendRequest) -> WsgiApplication | None:
        self.before_request(request)
        self.requests.append(request)
        server = self.servers[request.node.port - 6200]
        return None if server.down else server.application

    def replicator(self, number: int, **options: Any) -> ObjectReplicator:
        """The replicator of a server."""
        server = self.servers[number]
        rings = SimpleNamespace(
            object=lambda _index: self.rings[number], refreshed_object=lambda _index: self.rings[number]
        )
        context = DaemonContext(
            cluster=self.cluster,
            devices=server.devices,
            rings=cast(Rings, rings),
            transport=self.transport,
            runtime=server.runtime,
            recon=NoRecon(),
            is_mine=lambda device: device.id == number,
        )
        correction = RowCorrection(self.cluster.hasher, server.runtime.threads)
        engine = make_engine(self.engine, server.runtime, 0)
        return ObjectReplicator(ReplicatorConfig(**options), context, engine, correction.list_instead)

    def replicate(self, *numbers: int, **options: Any) -> None:
        """One pass of these servers, or of all."""
        for number in numbers or range(self.count):
            run_once(self.replicator(number, **options))

    def request(
        self, number: int, method: str, name: str, headers: dict[str, str], body: bytes = b""
    ) -> BackendResponse:
        """A request to a server's device."""
        path = ResourcePath("a", "c", name)
        answer = self.transport.request(BackendRequest(method, self.devices[number], PARTITION, path, headers), body)
        answer.close()
        return answer

    def put(
        self, number: int, name: str, second: float, body: bytes = b"body", mode: str = "", **metadata: str
    ) -> None:
        """Store an object on a device alone, as a version that is kept with the `mode` "keep"."""
        headers = {
            "X-Timestamp": at(second),
            "Content-Type": "text/plain",
            "Etag": "0" * 32,
            "X-Backend-Body-Checksum": xxh3_128_hexdigest(body),
            **{f"X-Object-Meta-{key.title()}": value for key, value in metadata.items()},
            **({"X-Backend-Version-Mode": mode} if mode else {}),
        }
        assert self.request(number, "PUT", name, headers, body).status == 201

    def post(self, number: int, name: str, second: float, **metadata: str) -> None:
        """Replace an object's metadata on a device alone."""
        headers = {f"X-Object-Meta-{key.title()}": value for key, value in metadata.items()}
        assert self.request(number, "POST", name, {"X-Timestamp": at(second), **headers}).status == 202

    def delete(self, number: int, name: str, second: float) -> None:
        """Mark an object as deleted on a device alone."""
        expected = 204 if self.request(number, "HEAD", name, {}).status == 200 else 404
        assert self.request(number, "DELETE", name, {"X-Timestamp": at(second)}).status == expected

    def remove(self, number: int, name: str, version: float, second: float) -> None:
        """Remove a kept version on a device alone."""
        headers = {"X-Timestamp": at(second), "X-Backend-Version-Id": at(version)}
        assert self.request(number, "DELETE", name, headers).status == 204

    def lose_before_confirming(self, number: int, name: str) -> None:
        """A server is asked to confirm that it has an object when its disk has just been wiped."""

        def lose(request: BackendRequest) -> None:
            if request.query == "step=confirm" and request.node.id == number:
                for path in self.directory(number, name).iterdir():
                    path.unlink()

        self.before_request = lose

    def directory(self, number: int, name: str) -> Path:
        """The hash directory of an object."""
        digest = self.cluster.hasher.hexdigest(ResourcePath("a", "c", name))
        return self.servers[number].root / "sda/objects" / str(PARTITION) / digest[-3:] / digest

    def names(self, number: int, name: str) -> list[str]:
        """The files of an object on a device."""
        directory = self.directory(number, name)
        return sorted(path.name for path in directory.iterdir()) if directory.exists() else []

    def files(self, number: int) -> dict[str, bytes]:
        """All files of objects on a device with their content."""
        top = self.servers[number].root / "sda/objects"
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def stored(self, number: int, name: str) -> StoredObject | None:
        """An object on a device."""
        device, location = self._place(number, name)
        found = device.open(location)
        return None if isinstance(found, Missing) else found

    def live_names(self, number: int, name: str) -> tuple[str, ...]:
        """The files of an object on a device that are not obsolete, whatever the engine."""
        device, location = self._place(number, name)
        return live_names(device.look(location))

    def _place(self, number: int, name: str) -> tuple[DeviceStorage, Location]:
        server, path = self.servers[number], ResourcePath("a", "c", name)
        location = Location(Policy(0, "gold"), str(PARTITION), self.cluster.hasher.hexdigest(path), str(path))
        return make_engine(self.engine, server.runtime, 0).device(str(server.root / "sda")), location

    def pass_time(self, seconds: float) -> None:
        """Later."""
        self.clock.seconds += seconds


__all__ = ["DAY", "NOW", "PARTITION", "Replicas", "at"]
