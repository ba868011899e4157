"""A cluster on loopback addresses: every node has an address, ports and devices of its own, every service a process."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from objstore.config.cluster import ClusterTlsConfig
from objstore.config.encryption_keys import KEYS_FILE, EncryptionKeys
from objstore.devices import Device
from objstore.system import files
from objstore.tools import layout
from objstore.tools.certificates import AUTHORITY_FILE, make_authority, make_node_certificate
from objstore.tools.commands import OperatorProblem
from objstore.tools.processes import DetachedProcess

LAYOUT_FILE: Final = "cluster.json"
LAYOUT_MODE: Final = 0o644
# In the order in which they start; each has the port first_port + its place, and those after them for replication.
SERVICES: Final = ("object", "container", "account", "proxy")
STORAGE_SERVICES: Final = SERVICES[:-1]
# Beside the storage servers, with the same configuration.
DAEMONS: Final = ("account-daemons", "container-daemons", "object-daemons")
NODES_MAX: Final = 200
STOP_SECONDS: Final = 10.0
VERSION: Final = 2


class ClusterPlan(Struct, frozen=True):
    """What a cluster is made of. Node N of `nodes` has the address 127.0.0.N."""

    nodes: int = 4
    devices_per_node: int = 1
    replicas: int = 3
    workers: int = 1
    first_port: int = 6200
    memcached: str = ""
    log_level: str = "info"
    policies: tuple[str, ...] = ()


class NodeAddresses(Struct, frozen=True):
    """Where the services of one node listen, as "ip:port"."""

    name: str
    proxy: str
    object: str
    container: str
    account: str


class LayoutFile(Struct, frozen=True):
    """cluster.json: the plan, and the addresses that follow from it, for people and scripts."""

    version: int
    plan: ClusterPlan
    nodes: list[NodeAddresses]


@dataclass(frozen=True)
class Node:
    """One node; `number` counts from 1."""

    number: int
    plan: ClusterPlan
    directory: Path

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def ip(self) -> str:
        return f"127.0.0.{self.number}"

    @property
    def home(self) -> Path:
        """The folder of its configuration, devices, logs and pid files."""
        return self.directory / self.name

    @property
    def device_root(self) -> Path:
        return self.home / "devices"

    @property
    def device_names(self) -> list[str]:
        return [f"d{number}" for number in range(1, self.plan.devices_per_node + 1)]

    def port(self, service: str) -> int:
        return self.plan.first_port + SERVICES.index(service)

    def address(self, service: str) -> str:
        return f"{self.ip}:{self.port(service)}"

    def replication_port(self, service: str) -> int:
        """Where operators and other servers reach a service."""
        return self.plan.first_port + len(SERVICES) + SERVICES.index(service)

    @property
    def ring_dir(self) -> Path:
        return self.home / "rings"

    def configuration(self, service: str) -> Path:
        return self.home / f"{service}.toml"

    def process(self, service: str) -> DetachedProcess:
        """A server, or the daemons beside one."""
        command = [sys.executable, "-m", "objstore.tools.main", service]
        command += ["--config", str(self.configuration(service.removesuffix("-daemons")))]
        return DetachedProcess(command, self.home / "run" / f"{service}.pid", self.home / "log" / f"{service}.log")

    def devices(self, service: str) -> list[Device]:
        """Its devices in the ring of a service, without ids. Each node is a zone."""
        return [
            Device(0, 1, self.number, self.ip, self.port(service), self.ip, self.replication_port(service), name, 100.0)
            for name in self.device_names
        ]

    def text(self, service: str) -> str:
        """The configuration file of one of its services."""
        quoted = layout.quoted
        lines = [
            f"cluster = {quoted(str(self.directory / layout.CLUSTER_FILE))}",
            f"ring_dir = {quoted(str(self.ring_dir))}",
            "",
            "[server]",
            f"bind = {quoted(self.address(service))}",
            f"workers = {self.plan.workers}",
            "",
            "[replication]",
            f"bind = {quoted(f'{self.ip}:{self.replication_port(service)}')}",
            "",
            "[log]",
            f"level = {quoted(self.plan.log_level)}",
            "",
            "[recon]",
            f"directory = {quoted(str(self.home / 'recon'))}",
        ]
        if service != "proxy":
            lines += ["", "[devices]", f"root = {quoted(str(self.device_root))}", "mount_check = false"]
            return "\n".join(lines) + "\n"
        lines += ["", "[accounts]", "allow_account_management = true", "account_autocreate = true"]
        lines += ["", "[auth]", f"users = {quoted(str(self.directory / layout.USERS_FILE))}"]
        lines += [f"access_keys = {quoted(str(self.home / layout.ACCESS_KEYS_FILE))}"]
        keys = self.directory / layout.ENCRYPTION_KEYS_FILE
        lines += ["", "[encryption]", f"keys = {quoted(str(keys))}"]
        if self.plan.memcached:
            lines += ["", "[cache]", f"memcached = [{quoted(self.plan.memcached)}]"]
        return "\n".join(lines) + "\n"


class LoopbackCluster:
    def __init__(self, directory: Path, plan: ClusterPlan) -> None:
        self.directory = directory
        self.plan = plan
        self.nodes = [Node(number, plan, directory) for number in range(1, plan.nodes + 1)]

    @classmethod
    def open(cls, directory: Path) -> LoopbackCluster:
        """Raises OperatorProblem if no cluster was made there."""
        directory = Path(os.path.realpath(directory))
        try:
            stored = msgspec.json.decode((directory / LAYOUT_FILE).read_bytes(), type=LayoutFile)
        except FileNotFoundError:
            raise OperatorProblem(f"{directory} holds no cluster", "make one with: objstore cluster make") from None
        except msgspec.DecodeError as error:
            raise OperatorProblem(f"{directory / LAYOUT_FILE}: {error}", "make the cluster again") from None
        if stored.version != VERSION:
            raise OperatorProblem(
                f"{directory} holds a cluster of layout {stored.version}, this release makes {VERSION}",
                "make the cluster again, or use the release that made it",
            )
        return cls(directory, stored.plan)

    @staticmethod
    def _make_certificate(directory: Path) -> ClusterTlsConfig:
        """One certificate for all nodes there can be, as they share a folder."""
        make_authority(directory)
        addresses = tuple(f"127.0.0.{number}" for number in range(1, NODES_MAX + 1))
        made = make_node_certificate(directory, "nodes", addresses)
        return ClusterTlsConfig("require", str(directory / AUTHORITY_FILE), str(made), str(made.with_suffix(".key")))

    @classmethod
    def make(cls, directory: Path, plan: ClusterPlan, *, tls: bool = False) -> LoopbackCluster:
        """Write configuration, rings and device folders. Raises OperatorProblem if there is a cluster already."""
        directory = Path(os.path.realpath(directory))
        if (directory / LAYOUT_FILE).exists():
            raise OperatorProblem(f"{directory} holds a cluster already", "start it, or remove the folder first")
        if not 1 <= plan.nodes <= NODES_MAX:
            raise OperatorProblem(f"a cluster on loopback has 1 to {NODES_MAX} nodes", "change --nodes")
        cluster = cls(directory, plan)
        directory.mkdir(parents=True, exist_ok=True)
        policies = layout.store_policies(plan.replicas, plan.policies)
        layout.write_rings(directory, cluster._devices(), plan.replicas, policies, with_builders=True)
        trust = cls._make_certificate(directory / "tls") if tls else layout.NO_TLS
        layout.write_private(directory / layout.CLUSTER_FILE, layout.cluster_text(policies, trust))
        layout.write_private(directory / layout.USERS_FILE, layout.users_text(layout.DEVELOPMENT_USERS))
        keys = KEYS_FILE.encode(layout.with_new_root(EncryptionKeys()))
        layout.write_private(directory / layout.ENCRYPTION_KEYS_FILE, keys.decode())
        for node in cluster.nodes:
            cluster._furnish(node, directory)
        # Last, for it says that the cluster is complete.
        cluster._write_layout()
        return cluster

    def add_node(self) -> LoopbackCluster:
        """The cluster with one more node, which has configuration and empty devices that are in no ring yet."""
        if self.plan.nodes >= NODES_MAX:
            raise OperatorProblem(f"a cluster on loopback has 1 to {NODES_MAX} nodes", "there is no room for another")
        plan = msgspec.structs.replace(self.plan, nodes=self.plan.nodes + 1)
        larger = LoopbackCluster(self.directory, plan)
        larger._furnish(larger.nodes[-1], self.nodes[0].ring_dir)
        larger._write_layout()
        return larger

    def _furnish(self, node: Node, ring_dir: Path) -> None:
        """Make the folder of a node; its rings are those of another folder."""
        for name in node.device_names:
            (node.device_root / name).mkdir(parents=True, exist_ok=True)
        node.ring_dir.mkdir(exist_ok=True)
        for ring in ring_dir.glob("*.ring.gz"):
            shutil.copy2(ring, node.ring_dir)
        for service in SERVICES:
            node.configuration(service).write_text(node.text(service))

    def _write_layout(self) -> None:
        content = msgspec.json.format(msgspec.json.encode(self._layout()))
        files.write_atomically(str(self.directory / LAYOUT_FILE), content, LAYOUT_MODE)

    def _devices(self) -> dict[str, list[Device]]:
        found = {}
        for service in STORAGE_SERVICES:
            members = [device for node in self.nodes for device in node.devices(service)]
            found[service] = [msgspec.structs.replace(device, id=place) for place, device in enumerate(members)]
        return found

    def _layout(self) -> LayoutFile:
        nodes = [
            NodeAddresses(node.name, *(node.address(service) for service in NodeAddresses.__struct_fields__[1:]))
            for node in self.nodes
        ]
        return LayoutFile(VERSION, self.plan, nodes)

    def chosen(self, number: int | None) -> list[Node]:
        """One node, or all for None. Raises OperatorProblem."""
        if number is None:
            return self.nodes
        if not 1 <= number <= len(self.nodes):
            raise OperatorProblem(f"there is no node {number}", f"the nodes are 1 to {len(self.nodes)}")
        return [self.nodes[number - 1]]

    def start(self, nodes: list[Node]) -> None:
        for node in nodes:
            for service in (*SERVICES, *DAEMONS):
                node.process(service).start()

    def stop(self, nodes: list[Node]) -> None:
        """Let all services of these nodes finish what they do; kill those that have not after STOP_SECONDS."""
        processes = [node.process(service) for node in nodes for service in (*DAEMONS, *SERVICES)]
        for process in processes:
            process.signal(signal.SIGTERM)
        for process in processes:
            if not process.wait_until_gone(STOP_SECONDS):
                process.signal(signal.SIGKILL)
                process.wait_until_gone(STOP_SECONDS)

    def kill(self, nodes: list[Node]) -> None:
        """End all services of these nodes at once, as a power cut would."""
        processes = [node.process(service) for node in nodes for service in (*DAEMONS, *SERVICES)]
        for process in processes:
            process.signal(signal.SIGKILL)
        for process in processes:
            process.wait_until_gone(STOP_SECONDS)

    def wipe(self, nodes: list[Node]) -> None:
        """Replace the devices of these stopped nodes by empty ones. Raises OperatorProblem if a service runs."""
        for node in nodes:
            running = [service for service in (*SERVICES, *DAEMONS) if node.process(service).process_id is not None]
            if running:
                raise OperatorProblem(
                    f"{node.name} still runs {', '.join(running)}",
                    f"stop it first: objstore cluster stop --node {node.number}",
                )
            for name in node.device_names:
                shutil.rmtree(node.device_root / name, ignore_errors=True)
                (node.device_root / name).mkdir(parents=True)
