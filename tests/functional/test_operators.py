"""What operators rely on: figures of all workers in one place, background work, limits."""

from __future__ import annotations

import http.client
import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store, descendants, free_port
from tests.waiting import wait_until


def fetch(port: int, path: str = "/metrics") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def figure(port: int, series: str) -> float:
    """The value of one series, 0 if it is not there; also while workers change places."""
    try:
        lines = fetch(port)[1].splitlines()
    except OSError:
        return 0.0
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == series)


@pytest.fixture
def metrics_port(own_store: Store, tmp_path: Path) -> int:
    """Where the running store tells its figures."""
    own_store.start()
    own_store.stop()
    port = free_port()
    with (own_store.folder / "proxy.toml").open("a") as file:
        file.write(f'\n[metrics]\nbind = "127.0.0.1:{port}"\ndirectory = "{tmp_path / "figures"}"\n')
    own_store.start()
    return port


def test_any_worker_tells_the_figures_of_all(own_store: Store, metrics_port: int) -> None:
    series = 'proxy_requests_total{kind="container",method="PUT",status="201"}'
    client = Client.login(own_store.host, own_store.port)
    connections = [Client(client.host, client.port, account=client.account, token=client.token) for _ in range(8)]
    for number, each in enumerate(connections):
        assert each.put(f"c{number}").status == 201
    wait_until(lambda: figure(metrics_port, series) == 8, "the sum of all workers")
    for _ in range(4):
        wait_until(lambda: figure(metrics_port, series) == 8, "every worker knows it")
    # Workers that were killed took with them at most what they had not told yet.
    _, *workers = own_store.processes()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: own_store.process is not None and fresh(own_store, workers), "new workers")
    wait_until(lambda: figure(metrics_port, series) == 8, "the sum with workers that have died")
    assert "a worker died" in own_store.log
    assert own_store.process is not None
    own_store.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(own_store.processes()) == 3, "the end of the old workers")
    wait_until(lambda: figure(metrics_port, series) == 8, "the sum after a reload")
    assert fetch(metrics_port, "/healthcheck")[0] == 404
    assert fetch(own_store.port)[0] != 200


def fresh(store: Store, former: list[int]) -> bool:
    assert store.process is not None
    now = descendants(store.process.pid)
    return len(now) == len(former) and not set(now) & set(former)


def test_background_work_is_done(own_store: Store, metrics_port: int) -> None:
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    client.put("c/o", b"12345")
    wait_until(lambda: client.head().headers["x-account-bytes-used"] == "5", "the account hears of it")
    assert client.head().headers["x-account-object-count"] == "1"
    wait_until(
        lambda: figure(metrics_port, 'daemon_steps_total{outcome="idle",worker="container-updater"}') >= 1,
        "it is counted",
    )


def test_workers_may_open_many_files(store: Store) -> None:
    for process in store.processes():
        limits = Path(f"/proc/{process}/limits").read_text().splitlines()
        soft, hard = next(line.split()[3:5] for line in limits if line.startswith("Max open files"))
        assert int(soft) == min(int(hard), 65_536) or int(soft) > 65_536
