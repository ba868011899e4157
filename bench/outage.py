"""A cluster under load loses a node with all its data, and nobody may notice.

python -m objstore.bench.outage DIRECTORY NODE [SECONDS] -- DIRECTORY is that of a running `objstore cluster`.

NODE is killed in the middle of uploads and downloads, and comes back empty, each phase taking SECONDS. All the while
every answer is compared with what was acknowledged before, and in the end all of it is read back through each proxy.
Only connections to the proxy of the node that was killed may fail. Exit status 1 if anything was not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from objstore.bench.endpoint import Endpoint
from objstore.bench.sessions import LoadFindings, LoadSession, Streamer
from objstore.bench.workload import LoadWorker
from objstore.tools.cluster import wait_until_answering
from objstore.tools.commands import OperatorProblem
from objstore.tools.loopback import LoopbackCluster

WORKERS: Final = 4
DOWNLOADS: Final = 3
LARGE_MEBIBYTES: Final = 100
LISTINGS: Final = 5  # through each proxy, since each may come from another replica


class Outage:
    def __init__(self, cluster: LoopbackCluster, victim: int, seconds: float, mebibytes: int = LARGE_MEBIBYTES) -> None:
        """`mebibytes` is the size of the large objects."""
        self._mebibytes = mebibytes
        self._cluster = cluster
        self._victim = cluster.chosen(victim)
        self._seconds = seconds
        self._container = f"outage-{uuid.uuid4().hex[:8]}"
        self._endpoints = [
            Endpoint(f"http://{node.address('proxy')}/auth/v1.0", "test:tester", "testing") for node in cluster.nodes
        ]
        self._survivors = [each for place, each in enumerate(self._endpoints, 1) if place != victim]
        self.findings = LoadFindings()
        self._undo = ExitStack()
        for endpoint in self._endpoints:
            self._undo.callback(endpoint.close)
        doomed = [self._session(self._endpoints[victim - 1])]
        self.workers = [
            LoadWorker(f"w{number}", self._container, [self._session(each) for each in self._survivors], self.findings)
            for number in range(WORKERS)
        ]
        self.workers.append(LoadWorker("doomed", self._container, doomed, self.findings, doomed=True))

    def _session(self, endpoint: Endpoint) -> LoadSession:
        session = LoadSession(endpoint.server, endpoint.account, endpoint.token)
        self._undo.callback(session.close)
        return session

    def _streamer(self, name: str, place: int) -> Streamer:
        endpoint = self._survivors[place % len(self._survivors)]
        return Streamer(name, self._container, self._session(endpoint), self.findings)

    def run(self) -> None:
        """Load, kill, load, bring back empty, load; then verify."""
        with self._undo:
            self._run()

    def _run(self) -> None:
        status, _ = self._endpoints[0].request("PUT", f"/{self._container}")
        assert status == 201, f"the container cannot be made: {status}"
        before, during = self._streamer("large-before", 0), self._streamer("large-during", 1)
        before.upload(self._mebibytes, 0)
        ended = threading.Event()
        with ThreadPoolExecutor(32) as pool:
            loads = [pool.submit(worker.run, ended) for worker in self.workers]
            try:
                time.sleep(self._seconds)
                uploads, streams = self._start_streams(pool, before.etag)
                time.sleep(self._seconds / 2)
                self._lose_node(during)
                time.sleep(self._seconds)
            finally:
                ended.set()
            for task in loads + streams:
                task.result()
        self._verify([before, during, *uploads])

    def _lose_node(self, during: Streamer) -> None:
        """Kill it, upload while it is away, and bring it back empty."""
        self.findings.tell_phase("kill")
        self._cluster.kill(self._victim)
        time.sleep(self._seconds)
        during.upload(self._mebibytes, 0)
        self.findings.tell_phase("back, empty")
        self._cluster.wipe(self._victim)
        self._cluster.start(self._victim)
        wait_until_answering(self._victim)

    def _start_streams(self, pool: ThreadPoolExecutor, etag: str) -> tuple[list[Streamer], list[Future[None]]]:
        """An upload through each surviving proxy and some downloads, all under way when the node is killed."""
        uploads = [self._streamer(f"large-up-{place}", place) for place in range(len(self._survivors))]
        downloads = [self._streamer("large-before", place) for place in range(DOWNLOADS)]
        tasks = [pool.submit(each.upload, self._mebibytes, self._seconds) for each in uploads]
        for each in downloads:
            each.etag = etag
            tasks.append(pool.submit(each.download, self._seconds))
        return uploads, tasks

    def _verify(self, large: list[Streamer]) -> None:
        self.findings.tell_phase("verify")
        for endpoint in self._endpoints:
            for worker in self.workers:
                worker.verify(self._session(endpoint))
        for streamer in large:
            streamer.download(0)
        for endpoint in self._endpoints * LISTINGS:
            self._verify_listing(endpoint, [streamer.name for streamer in large])

    def _verify_listing(self, endpoint: Endpoint, names: list[str]) -> None:
        status, body = endpoint.request("GET", f"/{self._container}?prefix=large-")
        missing = set(names) - set(body.decode().split())
        if status != 200 or missing:
            self.findings.failed(f"a listing through {endpoint.host}: {status}, without {sorted(missing)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("node", type=int)
    parser.add_argument("seconds", type=float, nargs="?", default=5.0)
    chosen = parser.parse_args()
    try:
        cluster = LoopbackCluster.open(chosen.directory)
        cluster.chosen(chosen.node)
    except OperatorProblem as problem:
        parser.error(str(problem))
    outage = Outage(cluster, chosen.node, chosen.seconds)
    outage.run()
    findings = outage.findings
    findings.print_report(
        sum(len(worker.known) for worker in outage.workers),
        f"{findings.tolerated} failed connections to the proxy that was killed, {findings.stale} stale answers",
    )
    sys.exit(int(bool(findings.failures)))


if __name__ == "__main__":
    main()
