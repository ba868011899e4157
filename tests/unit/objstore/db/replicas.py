"""Several nodes with container and account servers and their replicators, in one process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import msgspec

from objstore.account.consistency import AccountReplicator
from objstore.account.server import AccountServer
from objstore.cluster import Cluster
from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.object import ObjectConfig
from objstore.config.sections import DatabaseReplicatorConfig
from objstore.config.units import Reserve
from objstore.container.consistency import ContainerReplicator
from objstore.container.server import ContainerServer
from objstore.daemon import Step, run_once
from objstore.db.database import Database
from objstore.db.location import ResourceLocation
from objstore.db.summary import Summary, read_summary
from objstore.db.tables import stored_rows
from objstore.devices import Device
from objstore.http.local import LocalTransport
from objstore.http.messages import WsgiApplication
from objstore.http.transport import BackendRequest, BackendResponse, NodeFailure
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.mounts import DeviceRoot
from objstore.object.server import ObjectServer
from objstore.paths import PathHasher, ResourcePath
from objstore.policies import Policies, Policy
from objstore.recon import ReconFolder
from objstore.ring.builder import build_ring
from objstore.ring.daemon_context import DaemonContext
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.rows import ObjectRow, encode_rows
from objstore.runtime import Runtime
from tests.doubles import ManualClock
from tests.unit.objstore.db.harness import NOW, at

POLICIES = Policies([Policy(0, "gold", default=True), Policy(1, "silver")])
OBJECT_PORT, CONTAINER_PORT, ACCOUNT_PORT = 6200, 6201, 6202
PATH = ResourcePath("a", "c")


def ring_of(nodes: Sequence[int], port: int = CONTAINER_PORT, replicas: int = 3, part_power: int = 4) -> Ring:
    """A ring of one device, sda, on each of these nodes."""
    devices = [Device(node, 1, node, f"10.0.0.{node}", port, f"10.0.0.{node}", port, "sda", 1.0) for node in nodes]
    return build_ring(devices, part_power, replicas, seed=1)


class NodeRings:
    """The rings that a node has got, at first those of the first three nodes."""

    def __init__(self) -> None:
        self.account = ring_of((1, 2, 3), ACCOUNT_PORT)
        self.container = ring_of((1, 2, 3))

    def object(self, policy_index: int) -> Ring:
        return ring_of((1, 2, 3), OBJECT_PORT)


class ReplicaNode:
    """One machine with one device."""

    def __init__(self, world: Replicas, number: int) -> None:
        self.world = world
        self.number = number
        self.root = world.folder / f"node{number}"
        self.device = self.root / "sda"
        self.device.mkdir(parents=True)
        self.recon = ReconFolder(str(self.root / "recon"))
        self.up = True
        self.config = DatabaseReplicatorConfig()
        self.rings = NodeRings()
        self.lines: list[bytes] = []
        sink = Sink()
        sink.write = self.lines.append
        self.runtime = Runtime(log=Logger("test", sink), clock=world.clock, random=Random(number))
        self.start()

    def start(self) -> None:
        """Servers and daemons, as after a restart."""
        devices = DeviceRoot(str(self.root), False, Reserve())
        transport = self.world.transport
        self.container = ContainerServer(ContainerConfig(), self.world.cluster, devices, transport, self.runtime)
        self.account = AccountServer(AccountConfig(), self.world.cluster, devices, self.runtime)
        self.objects = ObjectServer(ObjectConfig(), self.world.cluster, devices, transport, self.runtime)
        self.context = DaemonContext(
            cluster=self.world.cluster,
            devices=devices,
            rings=cast(Rings, self.rings),
            transport=transport,
            runtime=self.runtime,
            recon=self.recon,
            is_mine=self.is_mine,
        )
        self.replicator = ContainerReplicator(self.config, self.context)
        self.account_replicator = AccountReplicator(self.config, self.context)

    def is_mine(self, device: Device) -> bool:
        return device.ip == f"10.0.0.{self.number}"

    def replicate(self) -> None:
        """One pass of the container replicator."""
        assert run_once(self.replicator) is Step.IDLE

    @property
    def counts(self) -> dict[str, int]:
        """Of the last pass."""
        counts: dict[str, int] = self.recon.read("container-replicator").get("counts", {})
        return counts

    def request(
        self,
        method: str,
        second: float = 0,
        body: bytes = b"",
        query: str = "",
        path: ResourcePath = PATH,
        **headers: str,
    ) -> BackendResponse:
        """To the container server; header names with underscores."""
        sent = {"X-Timestamp": at(second)} | {name.replace("_", "-"): value for name, value in headers.items()}
        port = OBJECT_PORT if path.object else CONTAINER_PORT if path.container else ACCOUNT_PORT
        address = f"10.0.0.{self.number}"
        node = Device(self.number, 1, 1, address, port, address, port, "sda", 1.0)
        partition = self.rings.container.partition_of(self.world.cluster.hasher.digest(path))
        return self.world.transport.request(BackendRequest(method, node, partition, path, sent, query), body)

    def put(self, second: float = 0, policy: int = 0, **headers: str) -> int:
        return self.request("PUT", second, b"", "", PATH, X_Backend_Storage_Policy_Index=str(policy), **headers).status

    def update(self, *rows: ObjectRow, path: ResourcePath = PATH) -> int:
        return self.request("UPDATE", body=encode_rows(rows), path=path).status

    def names(self, path: ResourcePath = PATH) -> list[str]:
        """What is listed."""
        answer = self.request("GET", query="format=json", path=path)
        assert answer.status == 200
        return [row["name"] for row in msgspec.json.decode(answer.read_all(), type=list[dict[str, Any]])]

    def location(self, path: ResourcePath = PATH) -> ResourceLocation:
        digest = self.world.cluster.hasher.digest(path)
        return self.container.store.locate("sda", str(self.rings.container.partition_of(digest)), path)

    def opened(self, path: ResourcePath = PATH) -> Any:
        return self.container.store.opened(self.location(path))

    def summary(self, path: ResourcePath = PATH) -> Summary:
        with self.opened(path) as database:
            summary: Summary = database.read(read_summary)
            return summary

    def database_files(self, folder: str = "containers") -> list[Path]:
        return sorted(self.device.glob(f"{folder}/*/*/*/*.db"))

    def rows(self, path: ResourcePath = PATH) -> list[ObjectRow]:
        """All there are, tombstones too."""
        schema = self.container.schema

        def read(connection: Any) -> list[ObjectRow]:
            rows = [row for deleted in (False, True) for row in stored_rows(connection, schema, deleted)]
            return sorted(rows, key=lambda row: (row.name, row.policy_index, row.version))

        with self.opened(path) as database:
            checked: Database = database
            return checked.read(read)

    def wipe(self) -> None:
        """A new disk."""
        shutil.rmtree(self.device)
        self.device.mkdir()
        self.start()


class Replicas:
    """Nodes 1 to 4; the rings have the first three."""

    def __init__(self, folder: Path, count: int = 4) -> None:
        self.folder = folder
        self.clock = ManualClock(running=True)
        self.clock.seconds = float(NOW + 100)
        self.cluster = Cluster(PathHasher("", "s"), POLICIES, Limits())
        self.requests: list[BackendRequest] = []
        self.before: Callable[[BackendRequest], None] | None = None  # called before each request is answered
        self.transport = LocalTransport(self._server)
        self.nodes = {number: ReplicaNode(self, number) for number in range(1, count + 1)}

    def _server(self, request: BackendRequest) -> WsgiApplication | None:
        node = self.nodes[int(request.node.ip.rpartition(".")[2])]
        if not node.up:
            raise NodeFailure(request.node, "connect")
        self.requests.append(request)
        if self.before is not None:
            self.before(request)
        servers: dict[int, WsgiApplication] = {
            CONTAINER_PORT: node.container,
            ACCOUNT_PORT: node.account,
            OBJECT_PORT: node.objects,
        }
        return servers[request.node.port]

    def __getitem__(self, number: int) -> ReplicaNode:
        return self.nodes[number]

    def replicate(self, *numbers: int) -> None:
        """A pass of each of these nodes, of the first three without."""
        for number in numbers or (1, 2, 3):
            self.nodes[number].replicate()

    def steps(self) -> list[str]:
        """Of the syncs that were asked since the last call."""
        found = [
            request.query.partition("&")[0].removeprefix("step=")
            for request in self.requests
            if request.method == "REPLICATE"
        ]
        self.requests.clear()
        return found

    def agree(self, *numbers: int) -> bool:
        """Whether replicas are equal in all that matters."""
        nodes = [self.nodes[number] for number in numbers or (1, 2, 3)]
        states = [(node.summary().status, node.summary().metadata_digest, node.rows()) for node in nodes]
        return all(state == states[0] for state in states)
