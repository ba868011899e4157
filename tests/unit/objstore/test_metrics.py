import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore import metrics
from objstore.metrics import Metrics, StatsD
from objstore.metrics_folder import MetricsFolder
from objstore.system import concurrency, files


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


def test_former_names_are_exported_for_one_release(server: socket.socket, tmp_path: Path) -> None:
    statsd = StatsD("127.0.0.1", server.getsockname()[1])
    for kept in (Metrics(statsd=statsd), Metrics.shared(str(tmp_path), "object", statsd)):
        kept.histogram("daemon_step_duration_seconds", "Time.", ("worker",)).observe(0.25, "auditor")
        lines = kept.render().decode().splitlines()
        for name in ("daemon_step_duration_seconds", "daemon_step_seconds"):
            assert f'{name}_count{{worker="auditor"}} 1.0' in lines
            assert f'{name}_sum{{worker="auditor"}} 0.25' in lines
        assert "# HELP daemon_step_seconds Deprecated: is now daemon_step_duration_seconds" in lines
        assert [server.recv(1000) for _ in range(2)] == [
            b"daemon_step_duration_seconds.auditor:250.000|ms",
            b"daemon_step_seconds.auditor:250.000|ms",
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


def test_labels_have_to_be_as_declared() -> None:
    with pytest.raises(ValueError, match="a has the labels"):
        Metrics().counter("a", "d", ("x",)).add()


def test_a_histogram_counts_each_duration_once() -> None:
    figures = Metrics()
    histogram = figures.histogram("s_seconds", "d")
    for seconds in (0.0, 0.001, 0.0011, 1000.0):
        histogram.observe(seconds)
    lines = figures.render().decode().splitlines()
    assert 's_seconds_bucket{le="0.001"} 2.0' in lines
    assert 's_seconds_bucket{le="0.005"} 3.0' in lines
    assert 's_seconds_bucket{le="300.0"} 3.0' in lines
    assert 's_seconds_bucket{le="+Inf"} 4.0' in lines
    assert "s_seconds_count 4.0" in lines
    assert "s_seconds_sum 1000.0021" in lines


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The id of this process, as a list of one that tests may change to act as several."""
    now = [100]
    monkeypatch.setattr("os.getpid", lambda: now[0])
    yield now


def worker(folder: Path, process: list[int], process_id: int, service: str = "object") -> Metrics:
    """What a process just forked has."""
    process[0] = process_id
    figures = Metrics(MetricsFolder(str(folder), service))
    figures.join()
    return figures


def count(figures: Metrics, amount: int) -> None:
    figures.counter("a", "d", ("x",)).add("y", amount=amount)
    figures.gauge("g", "d").set(amount)
    figures.histogram("h_seconds", "d").observe(0.2)
    figures.share()


def test_processes_count_together(tmp_path: Path, process: list[int]) -> None:
    master = Metrics.shared(str(tmp_path), "object")
    count(worker(tmp_path, process, 101), 1)
    last = worker(tmp_path, process, 102)
    count(last, 2)
    daemon = worker(tmp_path, process, 103, "object-updater")
    count(daemon, 4)
    for figures in (master, last, daemon):
        lines = figures.render().decode().splitlines()
        assert 'a_total{x="y"} 7.0' in lines
        assert "g 7.0" in lines
        assert "h_seconds_count 3.0" in lines


def test_what_a_process_counted_stays_when_it_has_ended(tmp_path: Path, process: list[int]) -> None:
    master = Metrics.shared(str(tmp_path), "object")
    count(worker(tmp_path, process, 101), 1)
    count(worker(tmp_path, process, 102), 2)
    process[0] = 100
    for ended in (101, 102, 102, 12345):
        master.forget_process(ended)
        lines = master.render().decode().splitlines()
        assert 'a_total{x="y"} 3.0' in lines
        assert "h_seconds_count 2.0" in lines
    assert not [line for line in lines if line.startswith("g ")]
    assert len(list(tmp_path.iterdir())) == 1
    count(worker(tmp_path, process, 102), 5)  # an id that is used again
    assert 'a_total{x="y"} 8.0' in master.render().decode()


def test_a_fold_that_was_interrupted_counts_nothing_twice(
    tmp_path: Path, process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    master = Metrics.shared(str(tmp_path), "object")
    count(worker(tmp_path, process, 101), 1)
    with monkeypatch.context() as patch:
        patch.setattr(files, "unlink_quietly", lambda path: False)
        master.forget_process(101)
    assert 'a_total{x="y"} 1.0' in master.render().decode()


def test_a_start_begins_at_zero_and_leaves_others_alone(tmp_path: Path, process: list[int]) -> None:
    count(worker(tmp_path, process, 101), 1)
    (tmp_path / "object.5.1.figures.5.new").touch()  # its process was killed while it wrote
    count(worker(tmp_path, process, 102, "object-updater"), 2)
    assert 'a_total{x="y"} 2.0' in Metrics.shared(str(tmp_path), "object").render().decode()
    assert [path.name.partition(".")[0] for path in tmp_path.iterdir()] == ["object-updater"]


def test_a_fork_begins_at_zero(tmp_path: Path) -> None:
    figures = Metrics.shared(str(tmp_path), "object")
    counter = figures.counter("a", "d")
    counter.add()
    figures.join()
    counter.add()
    assert "a_total 1.0" in figures.render().decode().splitlines()


def test_changes_are_shared_within_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, Callable[[], None]]] = []
    monkeypatch.setattr(concurrency, "call_later", lambda seconds, callback: timers.append((seconds, callback)))
    figures = Metrics.shared(str(tmp_path), "object")
    counter = figures.counter("a", "d")
    assert not list(tmp_path.iterdir())
    for _ in range(2):
        for _ in range(3):
            counter.add()
        ((seconds, callback),) = timers
        assert seconds == metrics.SHARE_SECONDS
        timers.clear()
        callback()
    assert "a_total 6.0" in Metrics(MetricsFolder(str(tmp_path), "other")).render().decode()


def test_what_is_not_figures_is_stepped_over(tmp_path: Path) -> None:
    figures = Metrics.shared(str(tmp_path), "object")
    (tmp_path / "object.9.9.figures").write_bytes(b"\xc1")
    (tmp_path / "notes").touch()
    figures.counter("a", "d").add()
    assert "a_total 1.0" in figures.render().decode()


def test_a_folder_that_is_gone_harms_nothing(tmp_path: Path) -> None:
    figures = Metrics.shared(str(tmp_path / "gone"), "object")
    (tmp_path / "gone").rmdir()
    figures.counter("a", "d").add()
    figures.share()
