"""A cluster grows under load, with the commands of an operator."""

from __future__ import annotations

import hashlib
import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from objstore.ring.format import read_ring
from objstore.tools.bench.growth import SERVICE_OF, Growth
from objstore.tools.loopback import LoopbackCluster
from tests.functional.servers import Cluster, environment, objstore

pytestmark = pytest.mark.xdist_group("rings")


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of its own, since it is not the same afterwards."""
    running = Cluster(tmp_path_factory.mktemp("growing") / "cluster")
    try:
        running.start()
        yield running
    finally:
        running.run("stop")


def publish(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    """`objstore ring publish` in the cluster's folder."""
    command = objstore("ring", "publish", *words, "--cluster", "objstore.toml")
    return subprocess.run(command, cwd=cluster.folder, env=environment(), capture_output=True, text=True, check=False)


def rings_in_use(cluster: Cluster) -> dict[str, set[str]]:
    """The checksums of each ring on the nodes."""
    found: dict[str, set[str]] = {}
    for path in Path(cluster.folder).glob("node*/rings/*.ring.gz"):
        found.setdefault(path.name, set()).add(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def rings_told(cluster: Cluster, node: int, service: str) -> dict[str, str]:
    """What a server says on /recon of the rings it uses: MD5 by the name of the file."""
    place = LoopbackCluster.open(cluster.folder).nodes[node - 1]
    with closing(http.client.HTTPConnection(place.ip, place.replication_port(service), timeout=10)) as connection:
        connection.request("GET", "/recon/ringmd5")
        told: dict[str, str] = json.loads(connection.getresponse().read())
    return {Path(path).name: digest for path, digest in told.items()}


def test_a_node_is_added_under_load_and_nobody_notices(growing: Cluster) -> None:
    growth = Growth(LoopbackCluster.open(growing.folder), seconds=0.8)
    growth.run()
    assert growth.findings.failures == []
    assert growth.findings.answered > 100
    used = rings_in_use(growing)
    for ring in SERVICE_OF:
        content = (growing.folder / f"{ring}.ring.gz").read_bytes()
        assert used[f"{ring}.ring.gz"] == {hashlib.sha256(content).hexdigest()}
        made = read_ring(str(growing.folder / f"{ring}.ring.gz"))
        assert "127.0.0.5" in {device.ip for device in made.devices}
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert rings_told(growing, 5, "object")[f"{ring}.ring.gz"] == md5
        assert rings_told(growing, 1, "proxy")[f"{ring}.ring.gz"] == md5
    for server in ("account", "container", "object", "proxy"):
        for node in range(1, 6):
            log = (growing.folder / f"node{node}/log/{server}.log").read_text()
            assert log.count("msg=started") == 1, f"{server} of node {node} was restarted"


def test_one_server_that_fails_keeps_all_from_the_new_ring(growing: Cluster) -> None:
    before = rings_in_use(growing)
    builder = growing.folder / "object.builder"
    for words in (("set", str(builder), "--weight", "0=50"), ("rebalance", str(builder))):
        subprocess.run(objstore("ring", *words), env=environment(), check=False, capture_output=True)
    failed = publish(growing, "object.ring.gz", "--to", "127.0.0.77:9")
    assert failed.returncode == 2
    assert "not staged on 127.0.0.77:9" in failed.stderr
    assert "nothing was put into use" in failed.stderr
    assert rings_in_use(growing) == before


def test_an_older_ring_is_published_only_on_purpose(growing: Cluster) -> None:
    old = growing.folder / "node1/rings/object.ring.gz.previous"
    folder = growing.folder / "old"
    folder.mkdir()
    (folder / "object.ring.gz").write_bytes(old.read_bytes())
    refused = publish(growing, "old/object.ring.gz")
    assert (refused.returncode, "see --older" in refused.stderr) == (2, True)
    done = publish(growing, "old/object.ring.gz", "--older")
    assert done.returncode == 0, done.stderr


def test_a_stranger_publishes_nothing(growing: Cluster) -> None:
    secrets = (growing.folder / "objstore.toml").read_text()
    (growing.folder / "stranger.toml").write_text(secrets.replace('prefix = "', 'prefix = "x'))
    command = objstore("ring", "publish", "account.ring.gz", "--cluster", "stranger.toml")
    refused = subprocess.run(
        command, cwd=growing.folder, env=environment(), capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2
    assert "403 The signature is wrong" in refused.stderr
    assert refused.stderr.count("\n") == 1
