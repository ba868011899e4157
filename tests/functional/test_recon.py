"""`objstore recon` and the pages it reads, of a running cluster."""

from __future__ import annotations

import hashlib
import http.client
import json
from contextlib import closing
from typing import Any

import pytest

from tests.functional.servers import Cluster, ask_as_operator, call

REPLICATION_PORTS = 4  # after those where clients and proxies ask


def get(host: str, port: int, path: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(host, port, timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


def recon(cluster: Cluster, *arguments: str) -> tuple[int, dict[str, Any]]:
    files = ["--ring-dir", str(cluster.folder / "node1/rings"), "--cluster", str(cluster.folder / "objstore.toml")]
    done = call("recon", *arguments, "--json", *files)
    assert done.stderr == ""
    return done.status, json.loads(done.stdout)


@pytest.mark.parametrize("server", ["account", "container", "object", "proxy"])
def test_operators_are_answered_apart_from_clients(cluster: Cluster, server: str) -> None:
    host, port = cluster.endpoint(1, server)
    assert get(host, port, "/recon/load")[0] != 200
    assert get(host, port + REPLICATION_PORTS, "/recon/version")[0] == 403
    known, operators = cluster.folder / "objstore.toml", port + REPLICATION_PORTS
    status, body = ask_as_operator(known, host, operators, "/recon/version")
    assert (status, json.loads(body)["server"]) == (200, server)
    assert ask_as_operator(known, host, operators, "/recon/nonsense")[0] == 404


def test_every_report(cluster: Cluster) -> None:
    proxy = cluster.endpoint(1)
    status, found = recon(cluster, "--all", "--jitter", "5", "--proxy", f"{proxy[0]}:{proxy[1] + REPLICATION_PORTS}")
    assert {name: report["wrong"] for name, report in found.items() if report["wrong"]} == {}
    assert status == 0
    assert len(found["loadstats object"]["servers"]) == 4
    assert len(found["loadstats proxy"]["servers"]) == 1
    assert len(found["md5 of rings"]["servers"]) == 13
    assert found["diskusage"]["summary"]["size"] > 0
    assert found["async object"]["summary"]["async_pending"]["reported"] == 4


def test_a_server_that_is_down_is_a_failure(cluster: Cluster) -> None:
    cluster.run("kill-node", "4")
    try:
        status, found = recon(cluster, "object", "-l", "--timeout", "2")
    finally:
        cluster.run("start")
    assert status == 1
    assert len(found["loadstats object"]["wrong"]) == 1


def test_another_ring_is_noticed(cluster: Cluster) -> None:
    ring = cluster.folder / "node2/rings/object.ring.gz"
    content = ring.read_bytes()
    ring.write_bytes(content + b"\0")
    try:
        status, found = recon(cluster, "--md5", "object")
    finally:
        ring.write_bytes(content)
    assert status == 1
    assert [line.partition(": ")[2] for line in found["md5 of rings"]["wrong"]] == ["object.ring.gz differs"]


def test_a_ring_that_cannot_be_used_is_told_apart_from_the_one_in_use(cluster: Cluster) -> None:
    ring = cluster.folder / "node2/rings/object.ring.gz"
    content = ring.read_bytes()
    host, port = cluster.endpoint(2, "object")

    def asked(page: str) -> Any:
        status, body = ask_as_operator(cluster.folder / "objstore.toml", host, port + REPLICATION_PORTS, page)
        assert status == 200
        return json.loads(body)

    assert str(ring) in asked("/recon/ringmd5")
    ring.write_bytes(content[:-30])
    try:
        used = asked("/recon/rings")[str(ring)]
        digests = asked("/recon/ringmd5")
        status, found = recon(cluster, "--md5", "object")
    finally:
        ring.write_bytes(content)
    assert digests[str(ring)] == used["md5"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert "not a valid ring file" in used["problem"]
    assert status == 1
    (line,) = found["md5 of rings"]["wrong"]
    assert "object.ring.gz is not the ring in use: not a valid ring file" in line
