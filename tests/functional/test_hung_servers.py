"""A server that hangs, stopped by a signal, accepts connections and answers nothing: writes go on without it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from objstore.tools.loopback import SERVICES
from tests.functional.client import Client
from tests.functional.servers import Cluster, descendants, run_daemons, wait_until_healthy
from tests.waiting import elapse, wait_until

NODES = range(1, 5)
HUNG_NODE = 4
CLIENTS = 8
CONTAINERS = [f"hung-{number}" for number in range(4)]
RATE_SECONDS = 3.0
# Writes have recovered after the first time, nearly always; a disk that all nodes share may be slow for longer.
ATTEMPTS = 10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster whose daemons run when a test says so."""
    made = Cluster(tmp_path_factory.mktemp("cluster") / "cluster")
    try:
        made.make()
        made.start_servers()
        yield made
    finally:
        made.run("stop")


class Load:
    """Clients that write small objects through the proxies of the nodes that do not hang."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(CLIENTS)]
        self.written: list[str] = []
        self.failed: Counter[int] = Counter()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60.0)

    def _write(self, number: int) -> None:
        client = Client.login(*self._cluster.endpoint(1 + number % (HUNG_NODE - 1)))
        written = 0
        while not self._ended.is_set():
            name = f"{CONTAINERS[written % len(CONTAINERS)]}/{self._name}-{number}-{written}"
            status = client.put(name, b"x" * 4096).status
            written += 1
            if status == 201:
                self.written.append(name)
            else:
                self.failed[status] += 1

    def rate(self, seconds: float) -> float:
        """How many writes a second are acknowledged from now on."""
        before, began = len(self.written), time.monotonic()
        elapse(seconds, "a rate is taken")
        return (len(self.written) - before) / (time.monotonic() - began)


def processes(cluster: Cluster, node: int, services: tuple[str, ...]) -> list[int]:
    """The ids of all processes of some services."""
    masters = [int((cluster.folder / f"node{node}/run/{name}.pid").read_text().split()[0]) for name in services]
    return [process for master in masters for process in (master, *descendants(master))]


def pending(cluster: Cluster) -> list[Path]:
    return [path for path in cluster.folder.glob("node*/devices/*/async_pending*/*/*") if path.is_file()]


def listed(client: Client) -> set[str]:
    found: set[str] = set()
    for container in CONTAINERS:
        marker = ""
        while names := client.names(container, marker=marker):
            found |= {f"{container}/{name}" for name in names}
            marker = names[-1]
    return found


@pytest.mark.parametrize("services", [("container",), ("account", "container"), SERVICES])
def test_writes_go_on_at_nearly_the_rate_of_before(cluster: Cluster, services: tuple[str, ...]) -> None:
    client = Client.login(*cluster.endpoint(1))
    for container in CONTAINERS:
        client.put(container)
    hung = processes(cluster, HUNG_NODE, services)
    with Load(cluster, "-".join(services)) as load:
        wait_until(lambda: len(load.written) > CLIENTS, "the first writes")
        before = load.rate(RATE_SECONDS)
        for process in hung:
            os.kill(process, signal.SIGSTOP)
        try:
            elapse(RATE_SECONDS, "the others find out that the server hangs")
            enough = any(load.rate(RATE_SECONDS) > before / 3 for _ in range(ATTEMPTS))
        finally:
            for process in hung:
                os.kill(process, signal.SIGCONT)
    assert enough, f"{before:.0f} writes a second before, less than a third while {services} hang"
    assert load.failed == {}
    for server in SERVICES:
        wait_until_healthy(*cluster.endpoint(HUNG_NODE, server))
    assert pending(cluster)
    # Two passes: an update that met the pause after a server's silence is kept for the second one.
    for _ in range(2):
        run_daemons([cluster.daemon_words(node, "object", "updater") for node in NODES])
    assert pending(cluster) == []
    assert set(load.written) <= listed(client)
