"""Four nodes, each server a process: what a quorum can serve is served, whatever happens to one node."""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from objstore.bench.outage import Outage
from objstore.tools.loopback import LoopbackCluster
from tests.functional.client import Client
from tests.functional.servers import Cluster, call, wait_until_healthy
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def clients(cluster: Cluster) -> list[Client]:
    """A client of each node's proxy."""
    return [Client.login(*cluster.endpoint(node)) for node in range(1, 5)]


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; all nodes run again afterwards."""
    yield cluster
    cluster.run("start")


def content_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest() * 500


def data_files(cluster: Cluster) -> list[Path]:
    return [path for path in cluster.folder.glob("node*/devices/*/objects*/*/*/*/*") if path.suffix == ".data"]


def test_every_proxy_serves_everything(clients: list[Client]) -> None:
    first, *others = clients
    assert first.put("shared").status == 201
    assert first.put("shared/o", b"content").status == 201
    for client in others:
        assert client.get("shared/o").body == b"content"
        # A token of one proxy is good at all.
        assert Client(client.host, client.port, account=first.account, token=first.token).get("shared").lines == ["o"]


def test_every_server_tells_its_health(cluster: Cluster) -> None:
    for node in range(1, 5):
        for server in ("proxy", "object", "container", "account"):
            wait_until_healthy(*cluster.endpoint(node, server))


def aws(service: str, endpoint: tuple[str, int], key: str = "test:tester", secret: str = "testing") -> Any:
    """boto3 for a proxy."""
    return boto3.client(
        service,
        endpoint_url=f"http://{endpoint[0]}:{endpoint[1]}",
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


def s3_lets_in(endpoint: tuple[str, int], key: str, secret: str) -> bool:
    """Whether a proxy takes an access key, of a user who may list buckets or may not."""
    client = aws("s3", endpoint, key, secret)
    try:
        client.list_buckets()
    except client.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] in ("InvalidAccessKeyId", "AccessDenied")
        return bool(error.response["Error"]["Code"] == "AccessDenied")
    return True


def test_users_that_one_node_makes_are_known_to_all(cluster: Cluster) -> None:
    def run(node: int, *words: str) -> str:
        outcome = call(*words, "--config", str(cluster.folder / f"node{node}" / "proxy.toml"))
        assert outcome.status == 0, outcome.stderr
        return outcome.stdout

    words = run(1, "user", "add", "photos:alice").split()
    key, secret = words[-4], words[-1]

    def knowing() -> list[bool]:
        """Which nodes let her in."""
        return [s3_lets_in(cluster.endpoint(node), key, secret) for node in range(1, 5)]

    wait_until(lambda: all(knowing()), "all nodes know the user", 20.0)
    assert "photos:alice" in run(2, "user", "list")
    run(3, "user", "disable", "photos:alice")
    wait_until(lambda: not any(knowing()), "all nodes know that she is disabled", 20.0)
    kept = [path.read_bytes() for path in data_files(cluster)]
    assert kept and not any(secret.encode() in content for content in kept)
    run(4, "user", "remove", "photos:alice")


def test_users_that_iam_makes_at_several_nodes_at_once(cluster: Cluster) -> None:
    names = [f"user{number}" for number in range(8)]

    def make(number: int) -> tuple[str, str]:
        iam = aws("iam", cluster.endpoint(number % 4 + 1))
        iam.create_user(UserName=names[number])
        key = iam.create_access_key(UserName=names[number])["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(make, range(8)))
    everywhere = [(cluster.endpoint(node), *key) for node in range(1, 5) for key in keys]
    wait_until(lambda: all(s3_lets_in(*each) for each in everywhere), "all nodes know all users", 20.0)
    listed = {user["UserName"] for user in aws("iam", cluster.endpoint(3)).list_users()["Users"]}
    assert listed >= set(names)


def test_three_copies_lie_on_three_nodes(cluster: Cluster, clients: list[Client]) -> None:
    before = set(data_files(cluster))
    clients[0].put("copies")
    clients[0].put("copies/o", b"content" * 1000)
    wait_until(lambda: len(set(data_files(cluster)) - before) >= 3, "the third copy")
    new = set(data_files(cluster)) - before
    assert len(new) == 3
    assert len({path.relative_to(cluster.folder).parts[0] for path in new}) == 3
    assert len({path.name for path in new}) == 1


def test_large_objects_over_the_network(clients: list[Client]) -> None:
    content = bytes(range(256)) * 4096 * 20
    clients[0].put("large")
    assert clients[1].put("large/o", content).headers["etag"] == hashlib.md5(content).hexdigest()
    assert clients[2].get("large/o").body == content
    assert clients[3].get("large/o", {"Range": "bytes=10000000-10000009"}).body == content[10_000_000:10_000_010]


def test_a_node_down_is_not_noticed(whole: Cluster, clients: list[Client]) -> None:
    assert clients[0].put("down").status == 201
    for number in range(20):
        clients[0].put(f"down/before-{number}", content_of(f"before-{number}"))
    whole.run("kill-node", "4")
    for number in range(20):
        assert clients[number % 3].put(f"down/during-{number}", content_of(f"during-{number}")).status == 201
    for number in range(20):
        for name in (f"before-{number}", f"during-{number}"):
            answer = clients[number % 3].get(f"down/{name}")
            assert (answer.status, answer.body) == (200, content_of(name))
    assert len(clients[1].names("down")) == 40
    assert clients[0].post("down/before-1", {"X-Object-Meta-A": "1"}).status == 202
    assert clients[0].delete("down/before-2").status == 204
    assert clients[1].get("down/before-2").status == 404
    assert clients[0].put("made-during").status == 201


def test_a_node_dies_under_load_and_comes_back_empty(whole: Cluster) -> None:
    outage = Outage(LoopbackCluster.open(whole.folder), victim=4, seconds=1.0, mebibytes=8)
    outage.run()
    assert outage.findings.failures == []
    assert sum(len(worker.known) for worker in outage.workers) > 20


def test_a_download_goes_on_from_another_replica(whole: Cluster, clients: list[Client]) -> None:
    content = bytes(range(256)) * 4096 * 60
    clients[0].put("resume")
    clients[0].put("resume/o", content)
    for node in (2, 3, 4):
        connection = http.client.HTTPConnection(*whole.endpoint(1), timeout=60)
        connection.request("GET", f"/v1/{clients[0].account}/resume/o", headers={"X-Auth-Token": clients[0].token})
        response = connection.getresponse()
        received = response.read(1_000_000)
        whole.run("kill-node", str(node))
        received += response.read()
        connection.close()
        assert received == content
        whole.run("start", "--node", str(node))


def test_with_two_nodes_down_an_available_policy_goes_on(whole: Cluster, clients: list[Client]) -> None:
    clients[0].put("quorum", headers={"X-Storage-Policy": "silver"})
    whole.run("kill-node", "3")
    whole.run("kill-node", "4")
    for number in range(10):
        name = f"quorum/{number}"
        answer = clients[number % 2].put(name, b"x")
        # Where both primaries are down there are two handoffs.
        assert answer.status == 201
        assert clients[0].get(name).body == b"x"
