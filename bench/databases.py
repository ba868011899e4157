"""What a pass over many container databases costs.

python -m objstore.bench.databases DIRECTORY [--count N] [--rows N]

DIRECTORY is a cluster made with `objstore cluster make`, whose servers run and whose daemons do not. N containers of
some rows are laid out on its devices, all replicas equal, since putting them one by one would take long; then one node
replicates them, twice, and audits them. The first pass over new databases notes that they are equal, the second one
finds them unchanged.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Final

from objstore.cluster import Cluster
from objstore.config.units import Reserve
from objstore.container.rows import ContainerSchema
from objstore.db.rows import RowTable
from objstore.db.status import new_status
from objstore.db.store import DatabaseStore
from objstore.logs import get_logger
from objstore.mounts import DeviceRoot
from objstore.paths import ResourcePath
from objstore.ring.rings import Rings
from objstore.rows import ObjectRow
from objstore.runtime import Runtime
from objstore.system import concurrency
from objstore.tools import layout
from objstore.tools.loopback import LoopbackCluster, Node

AT_ONCE: Final = 16
UNLIMITED: Final = "\n[replicator]\ndatabases_per_second = 0\n\n[auditor]\ndatabases_per_second = 0\n"


class DatabaseTrial:
    def __init__(self, made: LoopbackCluster, rows: int) -> None:
        self._cluster = Cluster.load(made.directory / layout.CLUSTER_FILE)
        runtime = Runtime(log=get_logger("bench"))
        self._ring = Rings(str(made.nodes[0].ring_dir), runtime.clock).container
        self._description = ContainerSchema(self._cluster.limits)
        self._rows = rows
        self._moment = runtime.clock.timestamp().internal
        self._stores = {
            node.ip: DatabaseStore(
                self._description, self._cluster, DeviceRoot(str(node.device_root), False, Reserve()), runtime
            )
            for node in made.nodes
        }

    def put(self, path: ResourcePath) -> None:
        moment = self._moment
        rows = [ObjectRow(f"o{number:06}", moment, 100, "text/plain", "etag") for number in range(self._rows)]
        fill = partial(RowTable(self._description).merge, rows=rows)
        partition = self._ring.partition_of(self._cluster.hasher.digest(path))
        for device in self._ring.primaries(partition):
            store = self._stores[device.ip]
            location = store.locate(device.device, str(partition), path)
            store.create(location, new_status(moment), [], fill)

    def fill(self, prefix: str, count: int) -> None:
        """Many containers, some at a time."""
        for start in range(0, count, AT_ONCE):
            names = [f"{prefix}-{number:06}" for number in range(start, min(start + AT_ONCE, count))]
            tasks = [concurrency.spawn(self.put, ResourcePath("AUTH_bench", name)) for name in names]
            for task in tasks:
                task.wait()


def run_pass(node: Node, daemon: str) -> str:
    """One pass of a daemon of a node, in a process of its own; what it cost."""
    configuration = node.home / "container-bench.toml"
    configuration.write_text(node.configuration("container").read_text() + UNLIMITED)
    command = [sys.executable, "-m", "objstore.tools.main", "container-daemons"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run([*command, "--config", str(configuration), "--only", daemon, "--once"], check=True)
    elapsed = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{elapsed:8.2f} s  {processor:8.2f} s of processor time  {after.ru_maxrss / 1024:6.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=10)
    chosen = parser.parse_args()
    made = LoopbackCluster.open(chosen.directory)
    started = time.monotonic()
    DatabaseTrial(made, chosen.rows).fill(f"databases-{time.time():.0f}", chosen.count)
    print(f"laid out {chosen.count} containers of {chosen.rows} rows in {time.monotonic() - started:.1f} s")
    node = made.nodes[0]
    held = len(list(node.device_root.glob("*/containers/*/*/*/*.db")))
    for name, daemon in (("first", "replicator"), ("unchanged", "replicator"), ("all", "auditor")):
        print(f"container-{daemon} {held} databases, {name:10} {run_pass(node, daemon)}", flush=True)


if __name__ == "__main__":
    main()
