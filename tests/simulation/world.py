"""The simulated cluster: nodes, network, rings, and the trace of what happened."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, Final

from objstore.cluster import Cluster
from objstore.config.cluster import ClusterConfig, HashConfig
from objstore.devices import Device
from objstore.logs import SINK
from objstore.paths import PathHasher
from objstore.policies import Policy
from objstore.ring.builder import RingBuilder, new_builder
from objstore.ring.format import write_ring
from objstore.ring.ring import Ring
from objstore.ring.rings import ACCOUNT_FILE, CONTAINER_FILE, object_file
from objstore.ring.settings import RingSettings
from objstore.system.concurrency import call_soon
from tests.simulation.calls import SimulatedCalls
from tests.simulation.databases import SimulatedDatabases
from tests.simulation.disk import SimulatedDisk
from tests.simulation.hub import Crashed, VirtualHub, current_owner, install
from tests.simulation.network import Network
from tests.simulation.node import EPOCH, Node
from tests.simulation.patching import SimulatedTime, patch
from tests.simulation.stored_forms import HASH_PREFIX

STORAGE_NODES: Final = 5
DEVICES_PER_NODE: Final = 2
PROXIES: Final = 2
PORTS: Final = {"object": 6200, "container": 6201, "account": 6202}
SMALL_OBJECT_SIZE: Final = 64  # up to it objects are stored whole, whatever their policy
POLICIES: Final = (
    Policy(0, "gold", default=True),
    Policy(1, "silver"),
    Policy(2, "strong", consistency="strong"),
    Policy(
        3,
        "coded",
        consistency="strong",
        kind="erasure_coding",
        data_fragments=4,
        parity_fragments=2,
        segment_size=4096,
        small_object_size=SMALL_OBJECT_SIZE,
    ),
    Policy(
        4,
        "striped",
        kind="erasure_coding",
        data_fragments=2,
        parity_fragments=2,
        segment_size=4096,
        small_object_size=SMALL_OBJECT_SIZE,
    ),
)
# By the kind of ring, of which each policy has one.
FOLDERS: Final = {
    "object": "objects",
    "object-1": "objects-1",
    "object-2": "objects-2",
    "object-3": "objects-3",
    "object-4": "objects-4",
    "container": "containers",
    "account": "accounts",
}
OBJECT_KINDS: Final = ("object", "object-1", "object-2", "object-3", "object-4")  # by the index of the policy
PENDING_FOLDERS: Final = ("async_pending", "async_pending-1", "async_pending-2", "async_pending-3", "async_pending-4")
PART_POWERS: Final = {
    "object": 4,
    "object-1": 3,
    "object-2": 3,
    "object-3": 2,
    "object-4": 2,
    "container": 3,
    "account": 2,
}
REPLICAS: Final = {
    "object": 3,
    "object-1": 3,
    "object-2": 3,
    "object-3": 6,
    "object-4": 4,
    "container": 3,
    "account": 3,
}
INDEXES: Final = {policy.name: policy.index for policy in POLICIES}
STRONG_KINDS: Final = ("object-2", "object-3")
FRAGMENTS_NEEDED: Final = {"object-3": 4, "object-4": 2}  # of different ones, for a body
FILES: Final = {
    "object": object_file(0),
    "object-1": object_file(1),
    "object-2": object_file(2),
    "object-3": object_file(3),
    "object-4": object_file(4),
    "container": CONTAINER_FILE,
    "account": ACCOUNT_FILE,
}
MIN_PART_HOURS: Final = 1.0
# How long after a disk's trouble what it brought about may still come to light.
AFTERMATH_SECONDS: Final = 600.0


class World:
    """Everything; one for each process, since it patches the program."""

    def __init__(self, seed: str, skews: Sequence[float] = ()) -> None:
        self.seed = seed
        self.hub: VirtualHub = install(self.stream("hub"))
        base = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.root = tempfile.mkdtemp(prefix="objstore-simulation-", dir=base)
        self.nodes: dict[str, Node] = {}
        self.trace: list[str] = []
        self.trace_digest = blake2b(digest_size=16)
        self.troubled: dict[str, float] = {}
        self.destroyed_at = -1e9  # when a copy was last destroyed, or began to be
        self.disturbed_at = -1e9  # when a ring was last changed or given to a node, or a copy destroyed
        self.power_cuts: list[float] = []
        self.when_disturbed: list[Callable[[], None]] = []
        self.after_crash: Callable[[], None] = lambda: None
        self.calls = SimulatedCalls(self.root, self.stream("calls"), lambda node: self.nodes[node].time())
        self.calls.before_change = self.before_change
        self.databases = SimulatedDatabases(self.calls, self.stream("databases"))
        clock = SimulatedTime(self._time_here, lambda: self.hub.now)
        patch(self.calls, self.databases, clock, self.stream("modules"))
        SINK.configure("error", write=lambda line: None)
        self.cluster = Cluster.from_config(ClusterConfig(HashConfig(prefix=HASH_PREFIX), POLICIES))
        self.network = Network(self.stream("network"), self.note)
        self._make_nodes(skews)
        self.builders: dict[str, RingBuilder] = {}
        self.rings: dict[str, Ring] = {}
        self._given: dict[tuple[str, str], int] = {}  # the version a node has
        self._make_rings()

    def stream(self, name: str) -> Random:
        """Chance of its own for each purpose, so that more of one changes none of the others."""
        return Random(f"{self.seed}/{name}")

    @property
    def hasher(self) -> PathHasher:
        return self.cluster.hasher

    @property
    def spread_seconds(self) -> float:
        """How wrong the worst clock is."""
        return max(abs(node.skew_seconds) for node in self.nodes.values())

    def _time_here(self) -> float:
        owner = current_owner()
        node = self.nodes.get(owner.name.partition(".")[0]) if owner is not None else None
        return node.time() if node is not None else EPOCH + self.hub.now

    def note(self, who: str, *what: object) -> None:
        """A line of the trace."""
        line = f"{self.hub.now:12.3f} {who:3} {' '.join(str(each) for each in what)}"
        self.trace.append(line)
        self.trace_digest.update(line.encode())

    def before_change(self, disk: SimulatedDisk, call: str) -> None:
        """A node is about to change something on a disk: this may be its last deed."""
        self.trace_digest.update(f"{self.hub.now:.6f}{disk.name}{call}".encode())
        node = self.nodes[disk.node]
        if node.changes_left is not None and node.owner is not None and current_owner() is node.owner:
            node.changes_left -= 1
            if node.changes_left <= 0:
                self.note(node.name, "crashes at", call, "on", disk.name)
                node.crash(node.power)
                raise Crashed

    def disturb(self) -> None:
        """A copy is about to be lost, or a ring to change: a quorum from before may not meet one from after."""
        self.disturbed_at = self.hub.now
        for call in self.when_disturbed:
            call()

    @property
    def is_undisturbed(self) -> bool:
        """Whether no device destroys copies, and all nodes go by the same rings."""
        versions = {(kind, version) for (kind, _), version in self._given.items()}
        return len(versions) == len(FILES) and all(disk.state != "failing" for disk in self.disks.values())

    def crashed(self) -> None:
        """Somebody has crashed: what holds at any time must hold now."""
        call_soon(self.after_crash)

    def recently_troubled(self, node: Node) -> bool:
        """Whether a disk of the node was in trouble a short while ago."""
        return self.hub.now - self.troubled.get(node.name, -1e9) < AFTERMATH_SECONDS

    def _make_nodes(self, skews: Sequence[float]) -> None:
        for number in range(1, STORAGE_NODES + 1):
            name = f"n{number}"
            self._add_node(name, f"10.0.0.{number}", skews)
            for device in range(1, DEVICES_PER_NODE + 1):
                self.nodes[name].add_disk(f"d{number}{device}")
        for number in range(1, PROXIES + 1):
            self._add_node(f"p{number}", f"10.0.1.{number}", skews)

    def _add_node(self, name: str, address: str, skews: Sequence[float]) -> None:
        position = len(self.nodes)
        node = self.nodes[name] = Node(self, name, address, skews[position] if position < len(skews) else 0.0)
        self.network.hosts[address] = node

    @property
    def storage(self) -> list[Node]:
        """The nodes with disks."""
        return [node for node in self.nodes.values() if node.disks]

    @property
    def proxies(self) -> list[Node]:
        return [node for node in self.nodes.values() if not node.disks]

    @property
    def disks(self) -> dict[str, SimulatedDisk]:
        """All devices by name."""
        return {name: disk for node in self.nodes.values() for name, disk in node.disks.items()}

    def device(self, kind: str, number: int, node: Node, disk: str, weight: float = 100.0) -> Device:
        """A disk as the ring of a kind knows it."""
        port = PORTS[kind.partition("-")[0]]
        zone = int(node.name[1:])
        return Device(number, 1, zone, node.address, port, node.address, port, disk, weight)

    def _make_rings(self) -> None:
        for kind, power in PART_POWERS.items():
            builder = new_builder(RingSettings(power, REPLICAS[kind], min_part_hours=MIN_PART_HOURS))
            for node in self.storage[:-1]:  # the last one joins later
                for disk in node.disks:
                    builder.add(self.device(kind, builder.next_id, node, disk))
            builder.rebalance(self.stream(f"ring {kind}").getrandbits(32), EPOCH - 86400)
            self.builders[kind] = builder
            self.publish(kind, self.nodes)

    def publish(self, kind: str, nodes: Any) -> None:
        """Give a ring to these nodes."""
        ring = self.builders[kind].ring()
        for name in nodes:
            self.give(kind, ring, name)

    def give(self, kind: str, ring: Ring, node: str) -> None:
        """Put a ring where a node finds it, unless it has a newer one."""
        if kind not in self.rings or ring.version > self.rings[kind].version:
            self.rings[kind] = ring
        if ring.version <= self._given.get((kind, node), 0):
            return
        self._given[kind, node] = ring.version
        self.disturbed_at = self.hub.now
        write_ring(ring, f"{self.nodes[node].path}/rings/{FILES[kind]}")

    def close(self) -> None:
        """Remove all files."""
        for node in self.nodes.values():
            if node.owner is not None:
                node.crash(power=False)
        shutil.rmtree(self.root, ignore_errors=True)
