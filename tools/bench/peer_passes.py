"""What a pass of the peer's daemons costs over what has not changed, to stand beside our own passes.

python -m objstore.tools.bench.peer_passes replicate|audit|databases [--home PEER_HOME] [--count N] [--mebibytes N]

The peer is set up by peer.sh, and runs. `replicate` lays out N objects of three replicas by the peer's ring, since
storing them one by one would take a quarter of an hour, and passes over them twice: the first computes digests, the
second finds them unchanged. `audit` reads bodies that were stored through the peer's proxy; `databases` compares N
containers.
"""

from __future__ import annotations

import argparse
import getpass
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import Final

from objstore.ring.format import read_ring
from objstore.tools.bench.endpoint import Endpoint

HOME: Final = Path.home() / ".cache/objstore-peers/swift-bench"
AUTH_URL: Final = "http://127.0.0.1:8190/auth/v1.0"
PORTS: Final = {"object": 6390, "container": 6391}
SECRET: Final = "bench"  # the prefix and suffix that peer.sh gives the peer's hashes
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


@dataclass(frozen=True)
class Peer:
    """The folder that peer.sh made."""

    home: Path

    def configure(self, daemon: str, options: Mapping[str, object]) -> Path:
        """The configuration of one pass of a daemon, such as "object-replicator"."""
        server, _, _ = daemon.partition("-")
        lines = [
            "[DEFAULT]",
            "bind_ip = 127.0.0.1",
            f"bind_port = {PORTS[server]}",
            f"user = {getpass.getuser()}",
            f"swift_dir = {self.home / 'etc'}",
            f"devices = {self.home / 'devices'}",
            "mount_check = false",
            f"recon_cache_path = {self.home / 'run'}",
            "log_level = WARNING",
            "[pipeline:main]",
            f"pipeline = {server}-server",
            f"[app:{server}-server]",
            f"use = egg:swift#{server}",
            f"[{daemon}]",
            *(f"{name} = {value}" for name, value in options.items()),
        ]
        path = self.home / "etc" / f"{daemon}.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, daemon: str, configuration: Path) -> Cost:
        """One pass."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.perf_counter()
        command = [str(self.home / f"venv/bin/swift-{daemon}"), str(configuration), "once"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        elapsed = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(elapsed, used, after.ru_maxrss * 1024)


def lay_out(peer: Peer, count: int) -> Iterator[Path]:
    """The directories of `count` objects on all their devices, as the peer's ring places them."""
    ring = read_ring(str(peer.home / "etc/object.ring.gz"))
    for number in range(count):
        name = f"{SECRET}/AUTH_bench/unchanged/object-{number:08}{SECRET}"
        digest = md5(name.encode(), usedforsecurity=False).digest()
        partition = ring.partition_of(digest)
        text = digest.hex()
        for device in ring.primaries(partition):
            yield peer.home / "devices" / device.device / "objects" / str(partition) / text[-3:] / text


def replicate(peer: Peer, count: int, _mebibytes: int) -> None:
    """Object replication."""
    for device in sorted((peer.home / "devices").iterdir()):
        shutil.rmtree(device / "objects", ignore_errors=True)
    stamp = f"{time.time() - 86_400:.5f}"
    for directory in lay_out(peer, count):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{stamp}.data").touch()
    configuration = peer.configure("object-replicator", {"concurrency": 1, "run_pause": 0})
    for which in ("digests unknown", "unchanged"):
        print(f"object-replicator   {count} objects, {which:16} {peer.run('object-replicator', configuration)}")


def audit(peer: Peer, _count: int, mebibytes: int) -> None:
    """The scrub of all bodies."""
    endpoint = Endpoint(AUTH_URL, "test:tester", "testing")
    container = f"/audit-{time.time():.0f}"
    endpoint.request("PUT", container)
    for number in range(max(mebibytes // OBJECT_MEBIBYTES, 1)):
        endpoint.upload(f"{container}/{number}", OBJECT_MEBIBYTES)
    options = {
        "files_per_second": UNLIMITED,
        "bytes_per_second": UNLIMITED,
        "zero_byte_files_per_second": UNLIMITED,
        "concurrency": 1,
    }
    cost = peer.run("object-auditor", peer.configure("object-auditor", options))
    total = sum(file.stat().st_size for file in (peer.home / "devices").glob("*/objects/*/*/*/*.data"))
    print(f"object-auditor      {total / 1e6:.0f} MB, {total / 1e6 / cost.elapsed:.0f} MB/s {cost}")


def databases(peer: Peer, count: int, _mebibytes: int) -> None:
    """Container replication."""
    endpoint = Endpoint(AUTH_URL, "test:tester", "testing")
    prefix = f"/databases-{time.time():.0f}"
    for number in range(count):
        endpoint.request("PUT", f"{prefix}-{number:06}")
    options = {"databases_per_second": UNLIMITED, "concurrency": 8, "run_pause": 0}
    configuration = peer.configure("container-replicator", options)
    for which in ("first", "unchanged"):
        print(f"container-replicator {count} containers, {which:12} {peer.run('container-replicator', configuration)}")


def main() -> None:
    """See the module."""
    passes = {"replicate": replicate, "audit": audit, "databases": databases}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=sorted(passes))
    parser.add_argument("--home", type=Path, default=Path(os.environ.get("PEER_HOME", HOME)))
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--mebibytes", type=int, default=1024)
    chosen = parser.parse_args()
    passes[chosen.what](Peer(chosen.home), chosen.count, chosen.mebibytes)


if __name__ == "__main__":
    main()
