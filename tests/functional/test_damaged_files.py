"""Files that a service needs are damaged: it does not start with them, and a running one goes on with what it has."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from objstore.tools.loopback import DAEMONS, SERVICES, ClusterPlan, LoopbackCluster, Node
from tests.functional.client import Client
from tests.functional.servers import Store, ask_as_operator, call, claim_ports, wait_until_healthy
from tests.waiting import wait_until

DAMAGES = ("garbage", "empty", "cut", "missing", "folder")


@contextmanager
def damaged(path: Path, how: str) -> Iterator[None]:
    """The file is like that until the end."""
    content = path.read_bytes()
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "missing":
        path.write_bytes({"garbage": b"\0\xffjunk" * 99, "empty": b"", "cut": content[: len(content) * 19 // 20]}[how])
    yield
    if path.is_dir():
        path.rmdir()
    path.write_bytes(content)


def refuses(path: Path, *words: str) -> None:
    """Whatever is wrong with the file, the command ends at once with one line that names it."""
    for how in DAMAGES:
        with damaged(path, how):
            done = call(*words)
        assert done.status == 2, (path.name, how, done.stderr)
        (line,) = done.stderr.splitlines()
        assert line.startswith("objstore: "), (how, line)
        assert str(path) in line, (how, line)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    plan = ClusterPlan(nodes=1, devices_per_node=3, first_port=claim_ports())
    return LoopbackCluster.make(tmp_path_factory.mktemp("damaged") / "cluster", plan).nodes[0]


@pytest.mark.parametrize("service", [*SERVICES, *DAEMONS])
def test_a_service_does_not_start_with_a_damaged_ring(node: Node, service: str) -> None:
    words = (service, "--config", str(node.configuration(service.removesuffix("-daemons"))))
    for ring in ("account.ring.gz", "object-1.ring.gz"):
        refuses(node.ring_dir / ring, *words)


def test_a_service_does_not_start_with_damaged_configuration(node: Node) -> None:
    proxy, home = node.configuration("proxy"), node.directory
    for path in (proxy, home / "objstore.toml", home / "users.toml"):
        refuses(path, "proxy", "--config", str(proxy))


def test_a_proxy_does_not_start_with_damaged_tls_files(node: Node) -> None:
    proxy = node.configuration("proxy")
    text = proxy.read_text()
    cert, key = node.home / "cert.pem", node.home / "key.pem"
    for file in (cert, key):
        file.write_text("nothing of the kind")
    proxy.write_text(text.replace("[server]", f'[server]\ntls_cert = "{cert}"\ntls_key = "{key}"'))
    try:
        refuses(cert, "proxy", "--config", str(proxy))
        refuses(key, "proxy", "--config", str(proxy))
    finally:
        proxy.write_text(text)


def test_a_whole_store_does_not_start_with_damaged_files(own_store: Store) -> None:
    own_store.start()
    own_store.stop()
    words = ("up", "--data", str(own_store.folder), "--bind", f"127.0.0.1:{own_store.port}")
    for name in ("objstore.toml", "proxy.toml", "store.json", "account.ring.gz", "object-1.ring.gz"):
        (own_store.folder / "d1/mine").mkdir(exist_ok=True)
        refuses(own_store.folder / name, *words)


def ask(host: str, port: int, path: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def look(node: Node, port: int) -> None:
    """Have a service look at its rings now."""
    ask_as_operator(node.ring_dir.parent.parent / "objstore.toml", node.ip, port, "/recon/rings")


def test_a_running_service_goes_on_with_the_last_good_ring_and_says_so(node: Node) -> None:
    for service in ("object", "proxy"):
        node.process(service).start()
        host, port, operators = node.ip, node.port(service), node.replication_port(service)
        try:
            wait_until_healthy(host, port)
            assert ask(host, port, "/healthcheck") == (200, "OK")
            with damaged(node.ring_dir / "object-1.ring.gz", "cut"):
                look(node, operators)
                fault = "object-1.ring.gz: not a valid ring file: it is truncated; the last good ring is in use"
                assert ask(host, port, "/healthcheck") == (200, f"OK\n{fault}")
                look(node, operators)
                assert node.process(service).log_file.read_text().count("ring file is bad") == 1
            look(node, operators)
            assert ask(host, port, "/healthcheck") == (200, "OK")
        finally:
            node.process(service).signal(signal.SIGTERM)
            assert node.process(service).wait_until_gone(20)


def test_a_reload_with_a_damaged_ring_is_refused_and_workers_that_die_come_back(own_store: Store) -> None:
    own_store.start()
    with damaged(own_store.folder / "object.ring.gz", "garbage"):
        assert own_store.process is not None
        own_store.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the configuration is not reloaded" in own_store.log, "the reload is refused")
        for worker in own_store.processes()[1:]:
            os.kill(worker, signal.SIGKILL)
        wait_until_healthy(own_store.host, own_store.port)
        client = Client.login(own_store.host, own_store.port)
        assert client.put("c").status == 201
        assert client.put("c/o", b"content").status == 201


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "passwd").write_text("x")
    done = call("up", "--data", str(tmp_path), "--bind", "127.0.0.1:0")
    assert done.status == 2
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["passwd"]
