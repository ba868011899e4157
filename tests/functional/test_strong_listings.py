"""Listings of strong containers on real servers: they show what was acknowledged before, whoever is down or stale."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.servers import NODES, Cluster, descendants
from tests.functional.test_faults import Faulty
from tests.waiting import wait_until


def is_listening(host: str, port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex((host, port)) == 0


class Strong(Faulty):
    """A cluster whose policy is strong; its daemons run when a test says so, if ever: nothing mends a replica."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.cluster = Cluster(folder, options)
        self.folder = folder
        self.contents = {}
        self.cluster.make()
        for file in folder.rglob("objstore.toml"):
            text = file.read_text()
            if "consistency" not in text:
                file.write_text(text.replace("[[policies]]\n", '[[policies]]\nconsistency = "strong"\n'))
            assert 'consistency = "strong"' in file.read_text()
        self.cluster.start_servers()

    def holders(self, container: str) -> list[int]:
        """The nodes with a replica of it."""
        return [node for node in NODES if f"AUTH_test/{container}" in self.databases(node, "containers")]

    def stop(self, node: int) -> None:
        """End the container server of a node: what is written meanwhile passes it by."""
        process = self.process_id(node, "container")
        assert process is not None
        for each in (process, *descendants(process)):
            os.kill(each, signal.SIGKILL)
        wait_until(lambda: not is_listening(*self.cluster.endpoint(node, "container")), "the server is gone")


@pytest.fixture(scope="module")
def strong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strong]:
    made = Strong(tmp_path_factory.mktemp("strong") / "cluster")
    try:
        yield made
    finally:
        made.cluster.run("stop")


def test_each_listing_shows_the_write_before_it(strong: Strong) -> None:
    clients = [strong.client(node) for node in NODES]
    clients[0].put("each")
    first, second, third = strong.holders("each")
    expected: set[str] = set()
    written = 0

    def write(count: int) -> None:
        nonlocal written
        for _ in range(count):
            written += 1
            writer, reader = clients[written % 4], clients[(written + 1) % 4]
            name = f"{written % 3}/{written:03d}"
            assert writer.put(f"each/{name}", b"x").status == 201
            expected.add(name)
            assert set(reader.names("each")) == expected
            if written % 2:
                gone = min(expected)
                assert writer.delete(f"each/{gone}").status == 204
                expected.remove(gone)
                assert set(reader.names("each")) == expected

    def check() -> None:
        folders = sorted({f"{name[0]}/" for name in expected})
        for client in clients * 2:
            assert client.names("each") == sorted(expected)
            assert client.names("each", delimiter="/") == folders
            assert (
                client.names("each", prefix="1/", reverse="true", limit=2)
                == sorted((name for name in expected if name[0] == "1"), reverse=True)[:2]
            )

    write(6)
    for down, stale in ((first, third), (second, first), (third, second)):
        strong.stop(down)
        write(8)
        check()
        strong.cluster.start_servers(down)
        # Now what has been written since is on two of them, and one of these is not there.
        strong.stop(stale)
        check()
        strong.cluster.start_servers(stale)
        check()
    strong.once(("container", "replicator"))
    check()


def test_versions_are_listed_after_each_write(strong: Strong) -> None:
    writer, reader = strong.client(1), strong.client(2)
    assert writer.put("kept", headers={"X-Versions-Enabled": "true"}).status == 201
    stale, other, _ = strong.holders("kept")
    assert writer.put("kept/o", b"0").status == 201
    strong.stop(stale)
    found = [reader.request("GET", "kept", versions="").json()[0]["version_id"]]
    for number in range(1, 4):
        assert writer.put("kept/o", str(number).encode()).status == 201
        listed = reader.request("GET", "kept", versions="").json()
        found.insert(0, listed[0]["version_id"])
        assert [each["version_id"] for each in listed] == found
        assert [each["is_latest"] for each in listed] == [True] + [False] * number
    assert writer.request("DELETE", "kept/o", **{"version-id": found.pop(1)}).status == 204
    assert writer.delete("kept/o").status == 204
    strong.cluster.start_servers(stale)
    strong.stop(other)
    for node in NODES:
        client = strong.client(node)
        listed = client.request("GET", "kept", versions="").json()
        assert [each["version_id"] for each in listed[1:]] == found
        assert listed[0]["is_latest"] and listed[0]["content_type"].startswith("application/x-deleted")
        assert client.names("kept") == []
        assert client.request("GET", "kept", versions="", limit=2).json() == listed[:2]
    strong.cluster.start_servers(other)


def test_a_container_is_there_for_all_proxies_once_it_is_made(strong: Strong) -> None:
    clients: list[Client] = [strong.client(node) for node in NODES]
    for number, maker in enumerate(clients):
        name = f"made-{number}"
        assert [each.get(name).status for each in clients] == [404] * 4
        assert maker.put(name).status == 201
        for place, each in enumerate(clients):
            assert each.put(f"{name}/{place}", b"x").status == 201
            assert each.names(name) == [str(place) for place in range(place + 1)]


def test_without_a_majority_nothing_is_listed(strong: Strong) -> None:
    client = strong.client()
    client.put("alone")
    assert client.put("alone/o", b"x").status == 201
    first, second, _ = strong.holders("alone")
    for node in (first, second):
        strong.stop(node)
    assert client.get("alone").status == 503
    for node in (first, second):
        strong.cluster.start_servers(node)
    assert client.names("alone") == ["o"]


def test_a_proxy_looks_again_at_a_container_that_another_one_has_deleted(strong: Strong) -> None:
    deleter, writer = strong.client(1), strong.client(2)
    for status in (404, 201):
        assert deleter.put("deleted").status == 201
        assert writer.put("deleted/o", b"x").status == 201
        assert deleter.delete("deleted/o").status == 204
        assert deleter.delete("deleted").status == 204
        assert writer.put("deleted/o", b"x").status == 503, "nobody lists it"
        if status == 201:
            assert deleter.put("deleted").status == 201
        assert writer.put("deleted/o", b"y").status == status
    assert deleter.names("deleted") == ["o"]
