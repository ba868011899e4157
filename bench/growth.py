"""A cluster under load grows by a node, with the commands an operator would use, and nobody may notice.

python -m objstore.bench.growth DIRECTORY [SECONDS] -- DIRECTORY is that of a running `objstore cluster`.

All the while every answer is compared with what was acknowledged before, and in the end all of it is read back through
each proxy, the new node's too. Each phase takes SECONDS. Exit status 1 if anything was not as it must be.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from objstore.bench.workload import LoadTrial
from objstore.tools.cluster import wait_until_answering
from objstore.tools.commands import OperatorProblem
from objstore.tools.loopback import LoopbackCluster, Node

WORKERS: Final = 4
SERVICE_OF: Final = {"account": "account", "container": "container", "object": "object", "object-1": "object"}


class Growth(LoadTrial):
    """One run against one cluster; `cluster` is the grown one after it."""

    def __init__(self, cluster: LoopbackCluster, seconds: float, workers: int = WORKERS) -> None:
        super().__init__("growth", cluster, seconds)
        for number in range(workers):
            self._add_worker(f"w{number}", self._endpoints)

    def _disturb(self, _pool: ThreadPoolExecutor) -> None:
        """A new node comes, and the rings that have it."""
        self.findings.tell_phase("a node more")
        self.cluster = self.cluster.add_node()
        added = self.cluster.nodes[-1]
        self.cluster.start([added])
        wait_until_answering([added])
        for ring, service in SERVICE_OF.items():
            self._rebalance(ring, added, service)
        self.findings.tell_phase("publish")
        proxies = [f"--to={node.ip}:{node.replication_port('proxy')}" for node in self.cluster.nodes]
        rings = [f"{ring}.ring.gz" for ring in SERVICE_OF]
        self._command("publish", *rings, "--cluster", "objstore.toml", *proxies)
        self.findings.tell_phase("published")
        self._endpoints.append(self._endpoint(added))

    def _rebalance(self, ring: str, added: Node, service: str) -> None:
        builder = f"{ring}.builder"
        places = [
            f"r{device.region}z{device.zone}-{device.address}R{device.on_replication.address}/{device.device}=100"
            for device in added.devices(service)
        ]
        options = [word for place in places for word in ("--add", place)]
        self._command("plan", builder, *options, "--used", "1GB")
        self._command("add", builder, *places)
        self._command("rebalance", builder)

    def _command(self, *words: str) -> None:
        """One `objstore ring` in the folder of the cluster. Raises CalledProcessError unless it succeeds."""
        command = [sys.executable, "-m", "objstore.tools.main", "ring", *words]
        done = subprocess.run(command, cwd=self.cluster.directory, stdout=subprocess.PIPE, check=True, text=True)
        print("\n".join(f"    {line}" for line in [f"$ objstore ring {' '.join(words)}", *done.stdout.splitlines()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("seconds", type=float, nargs="?", default=5.0)
    chosen = parser.parse_args()
    try:
        growth = Growth(LoopbackCluster.open(chosen.directory), chosen.seconds)
    except OperatorProblem as problem:
        parser.error(str(problem))
    growth.run()
    sys.exit(growth.report())


if __name__ == "__main__":
    main()
