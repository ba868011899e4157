import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore import metrics
from objstore.metrics import Metrics, StatsD

ROOT = Path(__file__).parents[3]


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        yield server


def test_figures_are_rendered_for_prometheus() -> None:
    figures = Metrics()
    requests = figures.counter("objstore_requests", "Requests answered.", ("method", "status"))
    requests.add("GET", "200")
    requests.add("GET", "200", amount=2)
    requests.add("PUT", "201")
    figures.gauge("objstore_connections", "Open connections.").set(7)
    figures.histogram("objstore_request_seconds", "Time.", ("method",)).observe(0.2, "GET")
    text = figures.render().decode()
    assert 'objstore_requests_total{method="GET",status="200"} 3.0' in text
    assert 'objstore_requests_total{method="PUT",status="201"} 1.0' in text
    assert "objstore_connections 7.0" in text
    assert 'objstore_request_seconds_bucket{le="0.1",method="GET"} 0.0' in text
    assert 'objstore_request_seconds_bucket{le="0.5",method="GET"} 1.0' in text
    assert "_created" not in text


def test_a_name_asked_for_again_is_the_same_figure() -> None:
    figures = Metrics()
    first = figures.counter("a", "d", ("x",))
    assert figures.counter("a", "d", ("x",)) is first
    assert figures.gauge("g", "d") is figures.gauge("g", "d")
    assert figures.histogram("h", "d") is figures.histogram("h", "d")
    with pytest.raises(ValueError, match="a is in use"):
        figures.counter("a", "d", ("y",))
    with pytest.raises(ValueError, match="a is in use"):
        figures.gauge("a", "d", ("x",))


def test_services_of_one_process_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.counter("a", "d").add()
    second.counter("a", "d").add(amount=5)
    assert b"a_total 1.0" in first.render()
    assert b"a_total 5.0" in second.render()


def test_labels_without_end_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "SERIES_MAX", 2)
    figures = Metrics()
    counter = figures.counter("a", "d", ("path",))
    for path in ("p", "q", "r", "s", "p"):
        counter.add(path)
    text = figures.render().decode()
    assert 'a_total{path="p"} 2.0' in text
    assert 'a_total{path="other"} 2.0' in text
    assert 'path="r"' not in text


def test_changes_are_mirrored_to_statsd(server: socket.socket) -> None:
    statsd = StatsD("127.0.0.1", server.getsockname()[1], "proxy")
    figures = Metrics(statsd=statsd)
    figures.counter("requests", "d", ("method",)).add("GET", amount=2)
    figures.gauge("clients", "d").set(1.5)
    figures.histogram("seconds", "d", ("host",)).observe(0.0125, "10.0.0.1:80")
    assert [server.recv(1000) for _ in range(3)] == [
        b"proxy.requests.GET:2|c",
        b"proxy.clients:1.5|g",
        b"proxy.seconds.10_0_0_1_80:12.500|ms",
    ]
    statsd.close()


def test_a_statsd_server_that_is_away_harms_nothing(server: socket.socket) -> None:
    address = server.getsockname()
    server.close()
    statsd = StatsD(*address)
    counter = Metrics(statsd=statsd).counter("requests", "d")
    for _ in range(3):  # the second one is told that the first was refused
        counter.add()
    statsd.close()
    counter.add()


def run_python(program: str, **environ: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=True
    )
    return answer.stdout


def test_prometheus_client_is_loaded_when_it_is_needed() -> None:
    program = """
import sys
from objstore.metrics import Metrics
counter = Metrics().counter("a", "d")
print("prometheus_client" in sys.modules)
counter.add()
print("prometheus_client" in sys.modules)
"""
    assert run_python(program).split() == ["False", "True"]


def test_a_service_starts_from_zero_and_leaves_others_alone(tmp_path: Path) -> None:
    program = f"""
from objstore.metrics import Metrics
figures = Metrics.shared({str(tmp_path)!r}, "proxy")
figures.counter("a", "d").add()
print(figures.render().decode())
"""
    (tmp_path / "object").mkdir()
    (tmp_path / "object" / "counter_1.db").touch()
    for _ in range(2):
        assert "a_total 1.0" in run_python(program).splitlines()
    assert len(list((tmp_path / "proxy").glob("*.db"))) == 1
    assert (tmp_path / "object" / "counter_1.db").exists()


def test_without_a_directory_each_worker_counts_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(metrics.SHARED_DIRECTORY, raising=False)
    Metrics.shared("", "proxy")
    assert metrics.SHARED_DIRECTORY not in os.environ


def test_workers_count_together(tmp_path: Path) -> None:
    program = f"""
import os
from objstore.metrics import Metrics
figures = Metrics({str(tmp_path)!r})
counter, gauge = figures.counter("a", "d", ("x",)), figures.gauge("g", "d")
children = []
for number in (1, 2):
    child = os.fork()
    if child == 0:
        counter.add("y", amount=number)
        gauge.set(number)
        os._exit(0)
    os.waitpid(child, 0)
    children.append(child)
print(figures.render().decode())
figures.forget_process(children[1])
print(figures.render().decode())
"""
    lines = run_python(program).splitlines()
    assert lines.count('a_total{x="y"} 3.0') == 2
    assert [line for line in lines if line.startswith("g ")] == ["g 3.0", "g 1.0"]
