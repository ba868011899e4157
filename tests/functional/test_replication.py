"""Objects of a real cluster: what nodes lose, miss or find damaged is brought back by the replicators."""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tests.functional.client import Client
from tests.functional.servers import NODES, Cluster, run_daemons, wait_until_healthy
from tests.functional.test_faults import flip, strip, truncate
from tests.waiting import elapse

PASSES_MAX = 4


def replicate(cluster: Cluster, *nodes: int) -> None:
    """One pass of the object replicators of these nodes, or of all, side by side."""
    run_daemons([cluster.daemon_words(node, "object", "replicator,updater") for node in nodes or NODES])


def files_of(cluster: Cluster, node: int) -> dict[str, str]:
    """The files of objects on a node, by what they are, with digests of their content and attributes."""
    found = {}
    for path in (cluster.folder / f"node{node}/devices").glob("*/objects/*/*/*/*"):
        content = path.read_bytes()
        attribute = os.getxattr(path, "user.objstore.metadata")
        found[f"{path.parent.name}/{path.name}"] = hashlib.md5(content + attribute).hexdigest()
    return found


def agreed(cluster: Cluster) -> bool:
    """Whether each file is on three nodes, the same on each."""
    files: dict[str, set[str]] = {}
    copies: Counter[str] = Counter()
    for node in NODES:
        for name, digest in files_of(cluster, node).items():
            files.setdefault(name, set()).add(digest)
            copies[name] += 1
    return all(len(digests) == 1 for digests in files.values()) and set(copies.values()) == {3}


def heal(cluster: Cluster) -> None:
    """Passes until all replicas agree; after a few of them they must."""
    for _ in range(PASSES_MAX):
        replicate(cluster)
        if agreed(cluster):
            return
    raise AssertionError("replicas do not come together")


def content_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest() * (1 + len(name) % 7 * 3000)


def filled(cluster: Cluster, container: str, count: int = 24) -> dict[str, bytes]:
    """Objects with their content, in a new container."""
    client = Client.login(*cluster.endpoint(1))
    assert client.put(container).status == 201
    objects = {f"{container}/objekt-å{number}": content_of(f"{container}{number}") for number in range(count)}
    for name, content in objects.items():
        assert client.put(name, content, {"X-Object-Meta-Number": name.rpartition("å")[2]}).status == 201
    return objects


def check(cluster: Cluster, objects: dict[str, bytes]) -> None:
    """Every proxy serves every object."""
    for node in NODES:
        client = Client.login(*cluster.endpoint(node))
        for name, content in objects.items():
            assert client.get(name).body == content


def data_files(cluster: Cluster, content: bytes) -> list[Path]:
    """The files that hold an object."""
    paths = cluster.folder.glob("node*/devices/*/objects/*/*/*/*.data")
    return sorted(path for path in paths if path.stat().st_size == len(content) and path.read_bytes() == content)


def node_of(cluster: Cluster, path: Path) -> int:
    return int(path.relative_to(cluster.folder).parts[0].removeprefix("node"))


def slow_upload(client: Client, name: str, content: bytes, begun: threading.Event) -> int:
    """PUT in pieces over a few seconds; the status."""

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 1024 * 1024):
            yield content[start : start + 1024 * 1024]
            begun.set()
            elapse(0.1, "a slow client")

    with closing(http.client.HTTPConnection(client.host, client.port, timeout=60)) as connection:
        headers = {"X-Auth-Token": client.token, "Transfer-Encoding": "chunked"}
        connection.request("PUT", f"/v1/{client.account}/{name}", pieces(), headers, encode_chunked=True)
        return connection.getresponse().status


def test_a_wiped_device_is_refilled(whole: Cluster) -> None:
    objects = filled(whole, "wiped-device")
    heal(whole)
    before = files_of(whole, 2)
    device = whole.folder / "node2/devices/d1"
    for path in device.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    heal(whole)
    assert files_of(whole, 2) == before
    check(whole, objects)


def test_a_node_killed_in_mid_upload_and_brought_back_empty(whole: Cluster) -> None:
    objects = filled(whole, "killed-node", 10)
    client = Client.login(*whole.endpoint(1))
    content = os.urandom(40 * 1024 * 1024)
    begun = threading.Event()
    answers = []
    upload = threading.Thread(target=lambda: answers.append(slow_upload(client, "killed-node/large", content, begun)))
    upload.start()
    assert begun.wait(10)
    whole.run("kill-node", "3")
    assert upload.is_alive()
    upload.join()
    assert answers == [201]
    for number in range(10, 20):
        name = f"killed-node/{number}"
        assert client.put(name, content_of(name)).status == 201
        objects[name] = content_of(name)
    gone = next(name for name in objects if name.endswith("å3"))
    assert client.delete(gone).status == 204
    whole.run("wipe", "3")
    whole.run("start", "--node", "3")
    for server in ("object", "container", "account"):
        wait_until_healthy(*whole.endpoint(3, server))
    heal(whole)
    objects["killed-node/large"] = content
    del objects[gone]
    check(whole, objects)
    for node in NODES:
        assert Client.login(*whole.endpoint(node)).get(gone).status == 404


def test_damaged_files_are_set_aside_and_come_back(whole: Cluster) -> None:
    client = Client.login(*whole.endpoint(1))
    client.put("damaged")
    damages = (truncate, flip, strip)
    contents = {each.__name__: hashlib.sha256(each.__name__.encode()).digest() * 4000 for each in damages}
    for name, content in contents.items():
        assert client.put(f"damaged/{name}", content).status == 201
    heal(whole)
    for damage in damages:
        content = contents[damage.__name__]
        victim, *others = data_files(whole, content)
        assert len(others) == 2
        damage(victim)
        near = Client.login(*whole.endpoint(node_of(whole, victim)))
        for _ in range(30):  # whichever replica a proxy asks, the client gets what was stored
            assert near.get(f"damaged/{damage.__name__}").body == content
            if not victim.exists():
                break
        assert not victim.exists(), "it was never asked for"
    heal(whole)
    for content in contents.values():
        assert len(data_files(whole, content)) == 3


def test_files_removed_by_hand_come_back(whole: Cluster) -> None:
    objects = filled(whole, "removed", 8)
    heal(whole)
    for pattern in ("objects/*/*/*", "objects/*/*"):
        for directory in whole.folder.glob(f"node*/devices/*/{pattern}"):
            os.utime(directory, (1, 1))
    replicate(whole)  # from now on digests are believed
    read, *others = [data_files(whole, content)[0] for content in objects.values()]
    # The read has its whole partition compared.
    audited = next(path for path in others if path.parents[2].name != read.parents[2].name)
    victims = (read, audited)
    for path in victims:
        path.unlink()
    replicate(whole)
    assert not any(path.exists() for path in victims)
    near = Client.login(*whole.endpoint(node_of(whole, read)))
    for _ in range(30):
        assert near.get(next(iter(objects))).body == next(iter(objects.values()))
        if not read.parent.exists():
            break
    replicate(whole, node_of(whole, read))
    assert [path.exists() for path in victims] == [True, False]
    run_daemons([whole.daemon_words(node_of(whole, audited), "object", "auditor-quick")])
    replicate(whole, node_of(whole, audited))
    assert audited.exists()
    check(whole, objects)
