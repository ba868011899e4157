"""A cluster under load loses a node with all its data, and nobody may notice.

python -m objstore.bench.outage DIRECTORY NODE [SECONDS] -- DIRECTORY is that of a running `objstore cluster`.

NODE is killed in the middle of uploads and downloads, and comes back empty, each phase taking SECONDS. All the while
every answer is compared with what was acknowledged before, and in the end all of it is read back through each proxy.
Only connections to the proxy of the node that was killed may fail. Exit status 1 if anything was not as it must be.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from objstore.bench.endpoint import Endpoint
from objstore.bench.sessions import Streamer
from objstore.bench.workload import LoadTrial
from objstore.tools.cluster import wait_until_answering
from objstore.tools.commands import OperatorProblem
from objstore.tools.loopback import LoopbackCluster

WORKERS: Final = 4
DOWNLOADS: Final = 3
LARGE_MEBIBYTES: Final = 100
LISTINGS: Final = 5  # through each proxy, since each may come from another replica


class Outage(LoadTrial):
    def __init__(self, cluster: LoopbackCluster, victim: int, seconds: float, mebibytes: int = LARGE_MEBIBYTES) -> None:
        """`mebibytes` is the size of the large objects."""
        super().__init__("outage", cluster, seconds)
        self._mebibytes = mebibytes
        self._victim = cluster.chosen(victim)
        self._survivors = [each for place, each in enumerate(self._endpoints, 1) if place != victim]
        for number in range(WORKERS):
            self._add_worker(f"w{number}", self._survivors)
        self._add_worker("doomed", [self._endpoints[victim - 1]], doomed=True)
        self._before, self._during = self._streamer("large-before", 0), self._streamer("large-during", 1)
        self._uploads = [self._streamer(f"large-up-{place}", place) for place in range(len(self._survivors))]
        self._streams: list[Future[None]] = []

    def _streamer(self, name: str, place: int) -> Streamer:
        endpoint = self._survivors[place % len(self._survivors)]
        return Streamer(name, self._container, self._session(endpoint), self.findings)

    def _disturb(self, pool: ThreadPoolExecutor) -> None:
        """Kill the node, load, bring it back empty."""
        self._before.upload(self._mebibytes, 0)
        self._start_streams(pool)
        time.sleep(self._seconds / 2)
        self.findings.tell_phase("kill")
        self.cluster.kill(self._victim)
        time.sleep(self._seconds)
        self._during.upload(self._mebibytes, 0)
        self.findings.tell_phase("back, empty")
        self.cluster.wipe(self._victim)
        self.cluster.start(self._victim)
        wait_until_answering(self._victim)

    def _start_streams(self, pool: ThreadPoolExecutor) -> None:
        """An upload through each surviving proxy and some downloads, all under way when the node is killed."""
        self._streams = [pool.submit(each.upload, self._mebibytes, self._seconds) for each in self._uploads]
        for place in range(DOWNLOADS):
            download = self._streamer("large-before", place)
            download.etag = self._before.etag
            self._streams.append(pool.submit(download.download, self._seconds))

    def _verify(self) -> None:
        for stream in self._streams:
            stream.result()
        super()._verify()
        large = [self._before, self._during, *self._uploads]
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
    sys.exit(outage.report())


if __name__ == "__main__":
    main()
