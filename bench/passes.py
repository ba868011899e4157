"""What passes of daemons cost over what has not changed: ours, and the peer's beside them.

python -m objstore.bench.passes replicate|audit|databases (--cluster DIRECTORY | --peer HOME) [--count N]
                                      [--mebibytes N]

The cluster is one node with four devices, started, and its daemons are stopped here:
`objstore cluster make --nodes 1 --devices-per-node 4`. The peer is set up by peer.sh, and runs.

`replicate` lays out N objects of three replicas by the ring, since storing them one by one would take a quarter of an
hour, and passes over them twice: the first pass computes digests, the second finds them unchanged. `audit` reads bodies
that were stored through the proxy. `databases` compares N containers that were made through it.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore.bench.endpoint import Endpoint
from objstore.cluster import Cluster
from objstore.paths import PathHasher, ResourcePath
from objstore.ring.format import read_ring

PEER_HOME: Final = Path.home() / ".cache/objstore-peers/swift-bench"
PEER_PORTS: Final = {"object": 6390, "container": 6391}
PEER_SECRET: Final = "bench"  # the prefix and suffix that peer.sh gives the peer's hashes
OBJECT_MEBIBYTES: Final = 16
UNLIMITED: Final = 10**12


@dataclass(frozen=True)
class Cost:
    """Of one pass, in seconds and bytes."""

    elapsed: float
    processor: float
    memory: int

    def __str__(self) -> str:
        return f"{self.elapsed:8.2f} s  {self.processor:8.2f} s of processor time  {self.memory / 2**20:6.0f} MB"


class Store(ABC):
    """A store on this machine; `devices` holds a folder for each device."""

    devices: Path
    auth_url: str

    @property
    @abstractmethod
    def ring(self) -> Path:
        """The object ring's file."""

    @property
    @abstractmethod
    def hasher(self) -> PathHasher:
        """How it hashes paths."""

    @abstractmethod
    def command(self, daemon: str) -> Sequence[str]:
        """What runs one pass of a daemon, such as "object-replicator", without any limit of its speed."""

    def endpoint(self) -> Endpoint:
        return Endpoint(self.auth_url, "test:tester", "testing")

    def run(self, daemon: str) -> Cost:
        command = self.command(daemon)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elapsed = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(elapsed, used, after.ru_maxrss * 1024)


class Ours(Store):
    def __init__(self, directory: Path) -> None:
        """Stops its daemons."""
        self._directory = directory.resolve()
        self._node = self._directory / "node1"
        self.devices = self._node / "devices"
        layout = json.loads((self._directory / "cluster.json").read_text())
        self.auth_url = f"http://{layout['nodes'][0]['proxy']}/auth/v1.0"
        for file in (self._node / "run").glob("*-daemons.pid"):
            try:
                os.kill(int(file.read_text().split()[0]), signal.SIGTERM)
            except (ProcessLookupError, IndexError, ValueError):
                continue

    @property
    def ring(self) -> Path:
        return self._node / "rings/object.ring.gz"

    @property
    def hasher(self) -> PathHasher:
        return Cluster.load(str(self._directory / "objstore.toml")).hasher

    def command(self, daemon: str) -> Sequence[str]:
        server, _, name = daemon.partition("-")
        path = self._node / f"{daemon}.toml"
        limits = {
            "object-auditor": "[auditor]\nfiles_per_second = 0\nbytes_per_second = 0\n",
            "container-replicator": "[replicator]\ndatabases_per_second = 0\n",
        }
        path.write_text((self._node / f"{server}.toml").read_text() + "\n" + limits.get(daemon, ""))
        main = [sys.executable, "-m", "objstore.tools.main"]
        return [*main, f"{server}-daemons", "--config", str(path), "--only", name, "--once"]


class Peer(Store):
    """The folder that peer.sh made."""

    auth_url = "http://127.0.0.1:8190/auth/v1.0"

    def __init__(self, home: Path) -> None:
        self._home = home
        self.devices = home / "devices"

    @property
    def ring(self) -> Path:
        return self._home / "etc/object.ring.gz"

    @property
    def hasher(self) -> PathHasher:
        return PathHasher(PEER_SECRET, PEER_SECRET)

    def command(self, daemon: str) -> Sequence[str]:
        options: Mapping[str, Mapping[str, int]] = {
            "object-replicator": {"concurrency": 1, "run_pause": 0},
            "object-auditor": {
                "files_per_second": UNLIMITED,
                "bytes_per_second": UNLIMITED,
                "zero_byte_files_per_second": UNLIMITED,
                "concurrency": 1,
            },
            "container-replicator": {"databases_per_second": UNLIMITED, "concurrency": 8, "run_pause": 0},
        }
        server, _, _ = daemon.partition("-")
        lines = [
            "[DEFAULT]",
            "bind_ip = 127.0.0.1",
            f"bind_port = {PEER_PORTS[server]}",
            f"user = {getpass.getuser()}",
            f"swift_dir = {self._home / 'etc'}",
            f"devices = {self.devices}",
            "mount_check = false",
            f"recon_cache_path = {self._home / 'run'}",
            "log_level = WARNING",
            "[pipeline:main]",
            f"pipeline = {server}-server",
            f"[app:{server}-server]",
            f"use = egg:swift#{server}",
            f"[{daemon}]",
            *(f"{name} = {value}" for name, value in options[daemon].items()),
        ]
        path = self._home / "etc" / f"{daemon}.conf"
        path.write_text("\n".join(lines) + "\n")
        return [str(self._home / f"venv/bin/swift-{daemon}"), str(path), "once"]


def lay_out(store: Store, count: int) -> Iterator[Path]:
    """The directories of `count` objects on all their devices, as the ring places them."""
    ring, hasher = read_ring(str(store.ring)), store.hasher
    for number in range(count):
        digest = hasher.digest(ResourcePath("AUTH_bench", "unchanged", f"object-{number:08}"))
        partition = ring.partition_of(digest)
        text = digest.hex()
        for device in ring.primaries(partition):
            yield store.devices / device.device / "objects" / str(partition) / text[-3:] / text


def replicate(store: Store, count: int, _mebibytes: int) -> None:
    for device in sorted(store.devices.iterdir()):
        shutil.rmtree(device / "objects", ignore_errors=True)
    stamp = f"{time.time() - 86_400:.5f}"
    for directory in lay_out(store, count):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{stamp}.data").touch()
    time.sleep(3)  # a digest of what has just changed is not kept
    for which in ("digests unknown", "unchanged"):
        print(f"object-replicator    {count} objects, {which:16} {store.run('object-replicator')}")


def audit(store: Store, _count: int, mebibytes: int) -> None:
    """The scrub of all bodies."""
    for device in sorted(store.devices.iterdir()):
        shutil.rmtree(device / "objects", ignore_errors=True)
    endpoint, container = store.endpoint(), f"/audit-{time.time():.0f}"
    endpoint.request("PUT", container)
    for number in range(max(mebibytes // OBJECT_MEBIBYTES, 1)):
        endpoint.upload(f"{container}/{number}", OBJECT_MEBIBYTES)
    cost = store.run("object-auditor")
    total = sum(file.stat().st_size for file in store.devices.glob("*/objects/*/*/*/*.data"))
    print(f"object-auditor       {total / 1e6:.0f} MB, {total / 1e6 / cost.elapsed:.0f} MB/s {cost}")


def databases(store: Store, count: int, _mebibytes: int) -> None:
    endpoint, prefix = store.endpoint(), f"/databases-{time.time():.0f}"
    for number in range(count):
        endpoint.request("PUT", f"{prefix}-{number:06}")
    for which in ("first", "unchanged"):
        print(f"container-replicator {count} containers, {which:12} {store.run('container-replicator')}")


def main() -> None:
    passes = {"replicate": replicate, "audit": audit, "databases": databases}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(passes))
    parser.add_argument("--cluster", type=Path)
    parser.add_argument("--peer", type=Path, nargs="?", const=PEER_HOME)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--mebibytes", type=int, default=1024)
    chosen = parser.parse_args()
    if (chosen.cluster is None) == (chosen.peer is None):
        parser.error("either --cluster or --peer")
    store = Ours(chosen.cluster) if chosen.cluster is not None else Peer(chosen.peer)
    passes[chosen.what](store, chosen.count, chosen.mebibytes)


if __name__ == "__main__":
    main()
