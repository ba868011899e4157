"""Objects stored as fragments on four nodes: a node that dies in mid-upload or mid-download is not noticed."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore import cluster as clusters
from objstore.devices import Device
from objstore.object.metadata import ATTRIBUTE, ObjectMetadata, decode
from objstore.tools import layout
from tests.functional.client import Client
from tests.functional.servers import NODES, Cluster, Store, run_daemons
from tests.functional.test_dispersion import run as dispersion
from tests.functional.test_locate import run as located_by
from tests.waiting import wait_until

MIB = 1024 * 1024
BODY = hashlib.shake_128(b"body").digest(9 * MIB + 12_345)
PIECE = 524_376  # bytes of a fragment that a whole segment takes
IN_DATA = {
    "number": 0,
    "first header": 40,
    "first payload": 80,
    "middle of a payload": 300_000,
    "end of a payload": PIECE - 9,
    "first checksum": PIECE - 8,
    "end of a checksum": PIECE - 1,
    "second header": PIECE + 79,
    "last payload": -1000,
    "last checksum": -1,
}
IN_METADATA = {"version": 0, "kind": 1, "checksum of metadata": 5, "metadata": 20, "middle of metadata": 150}
SIZES = (0, 1, 4096, 4097, 65_537, MIB, MIB + 1, len(BODY))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With a policy of two data and two parity fragments."""
    running = Cluster(tmp_path_factory.mktemp("cluster") / "cluster", ("--policy", "photos=ec:2+2"))
    try:
        running.start()
        yield running
    finally:
        running.run("stop")


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Client:
    made = Client.login(*cluster.endpoint(1))
    assert made.put("c", headers={"X-Storage-Policy": "photos"}).status == 201
    return made


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """All nodes run again afterwards."""
    yield cluster
    cluster.run("start")


def folder_of(cluster: Cluster, node: int) -> Path:
    return cluster.folder / f"node{node}" / "devices"


def files_of(cluster: Cluster, node: int) -> dict[str, bytes]:
    """Fragments and whole objects of a node."""
    top = folder_of(cluster, node)
    return {str(path.relative_to(top)): path.read_bytes() for path in top.glob("*/objects-2/*/*/*/*.data")}


def pending(cluster: Cluster) -> list[Path]:
    found = cluster.folder.glob("node*/devices/*/objects-2/*/*/*/*#*.data")
    return [path for path in found if "#d." not in path.name]


def test_objects_of_any_size_come_back_and_any_range_of_them(client: Client, cluster: Cluster) -> None:
    for size in SIZES:
        answer = client.put(f"c/{size}", BODY[:size], {"X-Object-Meta-Size": str(size)})
        assert (answer.status, answer.headers["etag"]) == (201, hashlib.md5(BODY[:size]).hexdigest())
        found = client.get(f"c/{size}")
        assert (found.status, found.body, found.headers["x-object-meta-size"]) == (200, BODY[:size], str(size))
        assert client.head(f"c/{size}").headers["content-length"] == str(size)
        for first, last in ((0, 0), (size // 2, size // 2 + 70_000), (size // 3, size - 1)):
            if first < size and first <= last:
                part = client.get(f"c/{size}", {"Range": f"bytes={first}-{last}"})
                assert (part.status, part.body) == (206, BODY[:size][first : last + 1])
    wait_until(lambda: not pending(cluster), "all fragments are durable")
    assert sum(map(len, files_of(cluster, 1).values())) < sum(SIZES) * 0.52


def test_what_is_replaced_and_deleted_is_gone(client: Client, cluster: Cluster) -> None:
    assert client.put("c/again", BODY[:100_000]).status == 201
    assert client.put("c/again", BODY[:200_000]).status == 201
    assert client.post("c/again", {"X-Object-Meta-A": "b"}).status == 202
    found = client.get("c/again")
    assert (found.body, found.headers["x-object-meta-a"]) == (BODY[:200_000], "b")
    assert client.put("c/again", b"x" * 9000, {"If-None-Match": "*"}).status == 412
    assert client.put("c/copy", headers={"X-Copy-From": "/c/again"}).status == 201
    assert client.get("c/copy").body == BODY[:200_000]
    assert client.delete("c/again").status == 204
    assert client.get("c/again").status == 404
    assert client.delete("c/again").status == 404


def test_a_node_dies_in_mid_upload(whole: Cluster, client: Client) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(BODY), MIB):
            if start == 4 * MIB:
                whole.run("kill-node", "3")
            yield BODY[start : start + MIB]

    assert client.put("c/uploaded", pieces()).status == 201
    assert client.get("c/uploaded").body == BODY


def test_a_node_dies_in_mid_download(whole: Cluster, client: Client) -> None:
    assert client.put("c/downloaded", BODY * 5).status == 201
    connection = http.client.HTTPConnection(*whole.endpoint(1), timeout=60)
    connection.request("GET", f"/v1/{client.account}/c/downloaded", headers={"X-Auth-Token": client.token})
    response = connection.getresponse()
    received = response.read(1_000_000)
    whole.run("kill-node", "2")
    received += response.read()
    connection.close()
    assert received == BODY * 5


def damage(path: Path, region: str) -> None:
    """Flip a bit in one region of a fragment's file, or cut it short."""
    if region in IN_METADATA:
        value = bytearray(os.getxattr(path, ATTRIBUTE))
        value[IN_METADATA[region]] ^= 1
        os.setxattr(path, ATTRIBUTE, bytes(value))
        return
    content = bytearray(path.read_bytes())
    if region == "cut short":
        del content[-1]
    else:
        content[IN_DATA[region]] ^= 1
    path.write_bytes(content)


def described(path: Path) -> tuple[str, int]:
    """Of which object a file is a fragment, and which one."""
    found = decode(ObjectMetadata, os.getxattr(path, ATTRIBUTE))
    assert isinstance(found, ObjectMetadata)
    assert found.fragment is not None
    return found.name.rpartition("/")[2], found.fragment.index


def test_damage_anywhere_is_never_read_and_always_repaired(cluster: Cluster, client: Client) -> None:
    """A sweep over all that a fragment's file consists of, in two of the four fragments of each object."""
    content, swept = BODY[: 2 * MIB + 70_001], [*IN_DATA, *IN_METADATA, "cut short"]
    before = {path for node in NODES for path in files_of(cluster, node)}
    for region in swept:
        assert client.put(f"c/{region}", content).status == 201
    wait_until(lambda: not pending(cluster), "all fragments are durable")
    stored = {node: files_of(cluster, node) for node in NODES}
    seen: set[Path] = set()
    for path in (folder_of(cluster, node) / name for node in NODES for name in stored[node].keys() - before):
        region, number = described(path)
        if number in (0, 3):
            damage(path, region)
        if number == 0 and region in IN_DATA:
            seen.add(path)
    others = Client.login(*cluster.endpoint(3))
    for region in swept:
        assert (client.get(f"c/{region}").body, others.head(f"c/{region}").status) == (content, 200)
        for first, last in ((0, 9), (MIB - 5, MIB + 5), (2 * MIB - 1, len(content) - 1)):
            part = others.get(f"c/{region}", {"Range": f"bytes={first}-{last}"})
            assert (part.status, part.body) == (206, content[first : last + 1])
    wait_until(lambda: not any(path.exists() for path in seen), "servers are told of what readers have seen")
    run_daemons([cluster.daemon_words(node, "object", "auditor") for node in NODES])
    for _ in range(2):
        run_daemons([cluster.daemon_words(node, "object", "replicator") for node in NODES])
    assert {node: files_of(cluster, node) for node in NODES} == stored


def test_operators_see_fragments(cluster: Cluster, client: Client, tmp_path: Path) -> None:
    assert client.put("c/seen", BODY[: MIB + 5]).status == 201
    wait_until(lambda: not pending(cluster), "all fragments are durable")
    _, located = located_by(cluster, "locate", "--policy", "photos", client.account, "c", "seen")
    assert [place.get("fragment") for place in located["places"]] == [0, 1, 2, 3]
    node = next(place["zone"] for place in located["places"] if place["fragment"] == 2)
    (path,) = (folder_of(cluster, node) / name for name in files_of(cluster, node) if located["hash"] in name)
    status, found = located_by(cluster, "explain", str(path))
    assert (status, found["kind"], found["wrong"]) == (0, "fragment", [])
    facts = found["facts"]
    assert (facts["fragment"]["index"], facts["segments"], facts["is_durable"], facts["size"]) == (2, 2, True, MIB + 5)
    copy = Path(shutil.copy2(path, tmp_path / path.name))
    damage(copy, "second header")
    status, found = located_by(cluster, "explain", str(copy))
    assert (status, found["wrong"][1:]) == (1, ["fragment 2, segment 1: it does not match its checksum"])
    other = copy.rename(tmp_path / path.name.replace("#2#", "#1#"))
    assert "it is called fragment 1 and holds 2" in located_by(cluster, "explain", str(other))[1]["wrong"]

    only = ("--policy", "photos", "--no-containers")
    status, text = dispersion(cluster, "populate", *only)
    assert status == 0, text
    wait_until(lambda: not pending(cluster), "all fragments are durable")
    status, text = dispersion(cluster, "report", "--json", *only)
    counts = json.loads(text)["object photos"]
    assert (status, counts["copies_found"], counts["copies_expected"]) == (0, 4 * 26, 4 * 26)
    fragments = [folder_of(cluster, 1) / name for name in files_of(cluster, 1) if "#" in name]
    lost = next(file for file in fragments if described(file)[0].startswith("dispersion"))
    moved = lost.rename(lost.with_name(lost.name.replace("#d", "")))
    status, text = dispersion(cluster, "report", "--json", *only)
    assert (status, json.loads(text)["object photos"]["copies_found"]) == (1, 4 * 26 - 1)
    moved.rename(lost)


def test_each_of_two_regions_has_enough(own_store: Store) -> None:
    """Of a policy whose fragments lie twice: all disks of a region are lost, and everything is read."""
    own_store.make("parity_fragments = 2", "parity_fragments = 2\nduplication_factor = 2", ("gold=ec:2+2",), devices=8)
    config = own_store.folder / "objstore.toml"
    gold = clusters.Cluster.load(str(config)).policies.default
    devices = [
        Device(number, 1 + number % 2, number + 1, "127.0.0.1", 6200, "127.0.0.1", 6200, f"d{number + 1}", 100.0)
        for number in range(8)
    ]
    folder = own_store.folder / "new"
    folder.mkdir()
    layout.write_rings(folder, dict.fromkeys(("object", "container", "account"), devices), 3, {gold: 8})
    shutil.move(folder / "object.ring.gz", own_store.folder / "object.ring.gz")
    shutil.rmtree(folder)
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    assert client.put("c").status == 201
    for number in range(12):
        assert client.put(f"c/{number}", BODY[: 50_000 + number]).status == 201

    def fragments() -> list[Path]:
        return list(own_store.folder.glob("d*/objects/*/*/*/*#*.data"))

    wait_until(lambda: len(fragments()) == 12 * 8 and all("#d." in path.name for path in fragments()), "durable")
    own_store.stop()
    held = Counter((path.parent.name, int(path.parts[-6][1:]) % 2, described(path)[1]) for path in fragments())
    assert set(held.values()) == {1}
    assert len(held) == 12 * 2 * 4
    for number in (1, 3, 5, 7):
        for name in ("objects", "digests"):
            shutil.rmtree(own_store.folder / f"d{number}" / name, ignore_errors=True)
    own_store.start()
    for number in range(12):
        assert client.get(f"c/{number}").body == BODY[: 50_000 + number]


def test_a_device_that_was_wiped_is_rebuilt(whole: Cluster, client: Client) -> None:
    for size in (MIB + 1, 70_000, 10):
        assert client.put(f"c/rebuilt-{size}", BODY[:size]).status == 201
    wait_until(lambda: not pending(whole), "all fragments are durable")
    run_daemons([whole.daemon_words(4, "object", "replicator")])
    before = files_of(whole, 4)
    whole.run("stop", "--node", "4")
    whole.run("wipe", "4")
    whole.run("start", "--node", "4")
    run_daemons([whole.daemon_words(node, "object", "replicator") for node in (1, 2, 3, 4)])
    run_daemons([whole.daemon_words(4, "object", "replicator")])
    assert files_of(whole, 4) == before
