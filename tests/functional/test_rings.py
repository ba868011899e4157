"""A cluster grows under load, with the commands of an operator."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

import objstore.cluster
from objstore.bench.growth import SERVICE_OF, Growth
from objstore.client.connections import KeptConnections, ServerAddress
from objstore.http.handshake import Handshake
from objstore.http.signing import Signer
from objstore.ring.format import read_ring
from objstore.ring.receiver import KEY_PURPOSE
from objstore.system.wallclock import WallClock
from objstore.tools.loopback import LoopbackCluster
from tests.functional.servers import Cluster, ask_as_operator, call
from tests.programs import Outcome


def publish(cluster: Cluster, *words: str) -> Outcome:
    """`objstore ring publish` in the cluster's folder."""
    return call("ring", "publish", *words, "--cluster", "objstore.toml", folder=cluster.folder)


def rings_in_use(cluster: Cluster) -> dict[str, set[str]]:
    """The checksums of each ring on the nodes."""
    found: dict[str, set[str]] = {}
    for path in Path(cluster.folder).glob("node*/rings/*.ring.gz"):
        found.setdefault(path.name, set()).add(hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def rings_told(cluster: Cluster, node: int, service: str) -> dict[str, str]:
    """What a server says on /recon of the rings it uses: MD5 by the name of the file."""
    place = LoopbackCluster.open(cluster.folder).nodes[node - 1]
    file, port = cluster.folder / "objstore.toml", place.replication_port(service)
    told: dict[str, str] = json.loads(ask_as_operator(file, place.ip, port, "/recon/ringmd5")[1])
    return {Path(path).name: digest for path, digest in told.items()}


def test_a_node_is_added_under_load_and_nobody_notices(cluster: Cluster) -> None:
    growth = Growth(LoopbackCluster.open(cluster.folder), seconds=0.8, workers=2)
    growth.run()
    assert growth.findings.failures == []
    assert growth.findings.answered > 100
    used = rings_in_use(cluster)
    for ring in SERVICE_OF:
        content = (cluster.folder / f"{ring}.ring.gz").read_bytes()
        assert used[f"{ring}.ring.gz"] == {hashlib.sha256(content).hexdigest()}
        made = read_ring(str(cluster.folder / f"{ring}.ring.gz"))
        assert "127.0.0.5" in {device.ip for device in made.devices}
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert rings_told(cluster, 5, "object")[f"{ring}.ring.gz"] == md5
        assert rings_told(cluster, 1, "proxy")[f"{ring}.ring.gz"] == md5
    for server in ("account", "container", "object", "proxy"):
        for node in range(1, 6):
            log = (cluster.folder / f"node{node}/log/{server}.log").read_text()
            assert log.count("msg=started") == 1, f"{server} of node {node} was restarted"


def test_one_server_that_fails_keeps_all_from_the_new_ring(cluster: Cluster) -> None:
    before = rings_in_use(cluster)
    builder = cluster.folder / "object.builder"
    for words in (("set", str(builder), "--weight", "0=50"), ("rebalance", str(builder))):
        call("ring", *words)
    failed = publish(cluster, "object.ring.gz", "--to", "127.0.0.77:9")
    assert failed.status == 2
    assert "not staged on 127.0.0.77:9" in failed.stderr
    assert "nothing was put into use" in failed.stderr
    assert rings_in_use(cluster) == before


def test_an_older_ring_is_published_only_on_purpose(cluster: Cluster) -> None:
    old = cluster.folder / "node1/rings/object.ring.gz.previous"
    folder = cluster.folder / "old"
    folder.mkdir()
    (folder / "object.ring.gz").write_bytes(old.read_bytes())
    refused = publish(cluster, "old/object.ring.gz")
    assert (refused.status, "see --older" in refused.stderr) == (2, True)
    done = publish(cluster, "old/object.ring.gz", "--older")
    assert done.status == 0, done.stderr


def test_a_recorded_request_is_refused(cluster: Cluster) -> None:
    known = objstore.cluster.Cluster.load(cluster.folder / "objstore.toml")
    key = known.hasher.derived_key(KEY_PURPOSE)
    ring = (cluster.folder / "object.ring.gz").read_bytes()
    path = "/rings/object.ring.gz"
    headers = Signer(key, WallClock()).headers("PUT", path, hashlib.sha256(ring).hexdigest())
    place = LoopbackCluster.open(cluster.folder).nodes[0]
    statuses = []
    address = ServerAddress(place.ip, place.replication_port("object"))
    for _ in range(2):
        connections = KeptConnections(handshake=Handshake.of(known))
        sent = headers | {"Content-Length": str(len(ring))}
        with closing(connections), connections.send(address, "PUT", path, sent, [ring]) as response:
            statuses.append(response.status)
    assert statuses == [201, 403]


def test_a_stranger_publishes_nothing(cluster: Cluster) -> None:
    secrets = (cluster.folder / "objstore.toml").read_text()
    (cluster.folder / "stranger.toml").write_text(secrets.replace('prefix = "', 'prefix = "x'))
    refused = call("ring", "publish", "account.ring.gz", "--cluster", "stranger.toml", folder=cluster.folder)
    assert refused.status == 2
    assert "does not prove that it belongs to the cluster" in refused.stderr
    assert refused.stderr.count("\n") == 1
