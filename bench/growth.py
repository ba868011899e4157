"""A cluster under load grows by a node, with the commands an operator would use, and nobody may notice.

python -m objstore.bench.growth DIRECTORY [SECONDS] -- DIRECTORY is that of a running `objstore cluster`.

All the while every answer is compared with what was acknowledged before, and in the end all of it is read back through
each proxy, the new node's too. Each phase takes SECONDS. Exit status 1 if anything was not as it must be.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from objstore.bench.endpoint import Endpoint
from objstore.bench.sessions import LoadFindings, LoadSession
from objstore.bench.workload import LoadWorker
from objstore.tools.cluster import wait_until_answering
from objstore.tools.commands import OperatorProblem
from objstore.tools.loopback import LoopbackCluster, Node

WORKERS: Final = 4
SERVICE_OF: Final = {"account": "account", "container": "container", "object": "object", "object-1": "object"}


class Growth:
    """One run against one cluster; `cluster` is the grown one after it."""

    def __init__(self, cluster: LoopbackCluster, seconds: float, workers: int = WORKERS) -> None:
        self.cluster = cluster
        self.findings = LoadFindings()
        self._seconds = seconds
        self._container = f"growth-{uuid.uuid4().hex[:8]}"
        self._undo = ExitStack()
        self._endpoints = [self._endpoint(node) for node in cluster.nodes]
        self.workers = [
            LoadWorker(f"w{number}", self._container, [self._session(each) for each in self._endpoints], self.findings)
            for number in range(workers)
        ]

    def _endpoint(self, node: Node) -> Endpoint:
        endpoint = Endpoint(f"http://{node.address('proxy')}/auth/v1.0", "test:tester", "testing")
        self._undo.callback(endpoint.close)
        return endpoint

    def _session(self, endpoint: Endpoint) -> LoadSession:
        session = LoadSession(endpoint.server, endpoint.account, endpoint.token)
        self._undo.callback(session.close)
        return session

    def run(self) -> None:
        """Load; under it a new node comes, and the rings that have it; load; then verify."""
        with self._undo:
            status, _ = self._endpoints[0].request("PUT", f"/{self._container}")
            assert status == 201, f"the container cannot be made: {status}"
            ended = threading.Event()
            with ThreadPoolExecutor(len(self.workers)) as pool:
                loads = [pool.submit(worker.run, ended) for worker in self.workers]
                try:
                    time.sleep(self._seconds)
                    self._grow()
                    time.sleep(self._seconds)
                finally:
                    ended.set()
                for load in loads:
                    load.result()
            self._verify()

    def _grow(self) -> None:
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

    def _verify(self) -> None:
        self.findings.tell_phase("verify")
        for endpoint in (*self._endpoints, self._endpoint(self.cluster.nodes[-1])):
            for worker in self.workers:
                worker.verify(self._session(endpoint))


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
    findings = growth.findings
    findings.print_report(
        sum(len(worker.known) for worker in growth.workers),
        f"{findings.stale} stale answers, put right by X-Newest or a moment later",
    )
    sys.exit(int(bool(findings.failures)))


if __name__ == "__main__":
    main()
