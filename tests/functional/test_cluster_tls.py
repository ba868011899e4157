"""A cluster whose servers ask each other over TLS only."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest

from objstore.tools.certificates import make_authority, make_node_certificate
from tests.functional.client import Client
from tests.functional.servers import Cluster


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("tls") / "cluster", ["--nodes", "4", "--tls"])
    try:
        running.start()
        yield running
    finally:
        running.run("stop")


def test_objects_pass_through_it(encrypted: Cluster) -> None:
    clients = [Client.login(*encrypted.endpoint(node)) for node in (1, 2)]
    assert clients[0].put("c").status == 201
    content = bytes(range(256)) * 40_000
    assert clients[0].put("c/large", content).status == 201
    assert clients[0].put("c/small", b"x").status == 201
    assert clients[1].get("c/large").body == content
    assert clients[1].get("c/large", {"Range": "bytes=1000-2000"}).body == content[1000:2001]
    assert clients[1].names("c") == ["large", "small"]
    encrypted.run("kill-node", "3")
    assert clients[1].put("c/small", b"y").status == 201
    assert clients[0].get("c/small").body == b"y"
    encrypted.run("start", "--node", "3")


def test_operators_ask_over_it(encrypted: Cluster) -> None:
    command = [
        sys.executable,
        "-m",
        "objstore.tools.main",
        "recon",
        "--md5",
        "--ring-dir",
        encrypted.folder / "node1/rings",
    ]
    command += ["--cluster", encrypted.folder / "objstore.toml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def ask(encrypted: Cluster, service: str, context: ssl.SSLContext | None) -> int:
    """The status that an object, container or account server of node 1 answers a stranger with."""
    host, port = encrypted.endpoint(1, service)
    if context is None:
        connection = http.client.HTTPConnection(host, port, timeout=10)
    else:
        connection = http.client.HTTPSConnection(host, port, timeout=10, context=context)
    try:
        connection.request("GET", "/d1/0/AUTH_test/c/small")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("service", ["object", "container", "account"])
def test_strangers_get_nothing(encrypted: Cluster, service: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = str(encrypted.folder / "tls/authority.pem")
    assert ask(encrypted, service, None) == 403
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(encrypted, service, ssl.create_default_context(cafile=authority))
    foreign = tmp_path_factory.mktemp("foreign")
    make_authority(foreign)
    stranger = make_node_certificate(foreign, "a", ("127.0.0.1",))
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(stranger, stranger.with_suffix(".key"))
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(encrypted, service, context)
    # A certificate alone proves no knowledge of the cluster's secrets.
    context = ssl.create_default_context(cafile=authority)
    context.load_cert_chain(encrypted.folder / "tls/nodes.pem", encrypted.folder / "tls/nodes.key")
    assert ask(encrypted, service, context) == 403


def test_its_health_is_told_to_everybody(encrypted: Cluster) -> None:
    connection = http.client.HTTPConnection(*encrypted.endpoint(1, "object"), timeout=10)
    connection.request("GET", "/healthcheck")
    assert connection.getresponse().status == 200
    connection.close()
