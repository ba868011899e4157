"""Databases of a real cluster: damaged, wiped, misplaced ones are brought back by the daemons."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.servers import Cluster, environment, objstore, run_daemons, wait_until_healthy
from tests.waiting import elapse

OBJECTS = 30
Damage = Callable[[Path], None]


@pytest.fixture
def whole(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster; all nodes run again afterwards."""
    yield cluster
    cluster.run("start")
    for node in range(1, 5):
        wait_until_healthy(*cluster.endpoint(node, "container"))


def run_daemon(cluster: Cluster, node: int, service: str, name: str) -> None:
    """One pass of one daemon of a node."""
    run_daemons([cluster.daemon_words(node, service, name)])


def replicate(cluster: Cluster) -> None:
    for node in range(1, 5):
        run_daemon(cluster, node, "container", "replicator")


def databases_of(cluster: Cluster, container: str) -> list[Path]:
    """The files of a container's replicas."""
    found = []
    for path in sorted(cluster.folder.glob("node*/devices/*/containers/*/*/*/*.db")):
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            if connection.execute("SELECT container FROM resource").fetchone() == (container,):
                found.append(path)
    return found


def rows_of(path: Path) -> list[tuple[str, int, str, int]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute("SELECT name, deleted, timestamp, size FROM row ORDER BY name").fetchall()


def node_of(cluster: Cluster, path: Path) -> int:
    return int(path.relative_to(cluster.folder).parts[0].removeprefix("node"))


def filled(cluster: Cluster, name: str) -> Client:
    client = Client.login(*cluster.endpoint(1))
    assert client.put(name).status == 201
    for number in range(OBJECTS):
        assert client.put(f"{name}/o{number:02}", b"x" * number).status == 201
    assert client.delete(f"{name}/o00").status == 204
    replicate(cluster)
    paths = databases_of(cluster, name)
    assert len(paths) == 3
    assert len(rows_of(paths[0])) == OBJECTS
    return client


def check_replicas(cluster: Cluster, name: str) -> None:
    """Three that are equal, and a listing that tells the same."""
    paths = databases_of(cluster, name)
    assert len(paths) == 3
    first, *others = (rows_of(path) for path in paths)
    assert all(each == first for each in others)
    names = [name for name, deleted, _, _ in first if not deleted]
    for number in range(1, 5):
        assert Client.login(*cluster.endpoint(number)).names(name) == names


def test_a_bad_page_is_found_and_the_replica_restored(whole: Cluster) -> None:
    filled(whole, "page")
    damaged = databases_of(whole, "page")[1]
    node = node_of(whole, damaged)
    whole.run("kill-node", str(node))
    with closing(sqlite3.connect(damaged)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'row'").fetchone()
    with damaged.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    whole.run("start", "--node", str(node))
    wait_until_healthy(*whole.endpoint(node, "container"))
    run_daemon(whole, node, "container", "auditor")
    aside = list(whole.folder.glob(f"node{node}/devices/*/quarantined/containers/*/{damaged.name}"))
    assert len(aside) == 1
    replicate(whole)
    assert damaged.exists()
    check_replicas(whole, "page")


def torn(path: Path) -> None:
    """The file cut in half."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def overwritten(path: Path) -> None:
    """A page of garbage, the one that leads to all rows."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'row'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


@pytest.mark.parametrize("damage", [torn, overwritten])
def test_a_listing_that_meets_damage_has_it_repaired_within_a_minute(whole: Cluster, damage: Damage) -> None:
    """By the node's own repairer, at its usual pace; no other daemon runs meanwhile."""
    name = damage.__name__
    client = filled(whole, name)
    damaged = databases_of(whole, name)[1]
    node = node_of(whole, damaged)
    inode = damaged.stat().st_ino
    whole.run("kill-node", str(node))
    with closing(sqlite3.connect(damaged)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    damage(damaged)
    whole.run("start", "--node", str(node))
    wait_until_healthy(*whole.endpoint(node, "container"))
    with subprocess.Popen(objstore(*whole.daemon_words(node, "container", "repairer")), env=environment()) as repairer:
        deadline = time.monotonic() + 60
        while not damaged.exists() or damaged.stat().st_ino == inode:  # each request may read another replica
            assert len(client.names(name)) == OBJECTS - 1
            assert time.monotonic() < deadline
        repairer.terminate()
    assert client.put(f"{name}/after", b"x").status == 201
    replicate(whole)
    check_replicas(whole, name)


def test_a_wiped_device_is_refilled(whole: Cluster) -> None:
    client = filled(whole, "wiped")
    lost = databases_of(whole, "wiped")[0]
    node = node_of(whole, lost)
    whole.run("kill-node", str(node))
    device = lost.parents[4]
    shutil.rmtree(device)
    device.mkdir()
    assert Client.login(*whole.endpoint(node % 4 + 1)).put("wiped/during", b"x").status == 201
    whole.run("start", "--node", str(node))
    wait_until_healthy(*whole.endpoint(node, "proxy"))
    wait_until_healthy(*whole.endpoint(node, "container"))
    replicate(whole)
    replicate(whole)
    check_replicas(whole, "wiped")
    assert "during" in client.names("wiped")


def test_a_handoff_is_emptied_while_rows_arrive(whole: Cluster) -> None:
    client = filled(whole, "handoff")
    paths = databases_of(whole, "handoff")
    (spare,) = {1, 2, 3, 4} - {node_of(whole, path) for path in paths}
    partition, suffix, digest = paths[0].parts[-4:-1]
    target = next(whole.folder.glob(f"node{spare}/devices/*")) / "containers" / partition / suffix / digest
    target.mkdir(parents=True)
    with closing(sqlite3.connect(paths[0])) as connection:
        connection.execute("VACUUM INTO ?", (str(target / f"{digest}.db"),))
    with closing(sqlite3.connect(target / f"{digest}.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE resource SET id = 'a copy of its own'")
        connection.commit()
    for number in range(20):
        if number == 5:
            run_daemon(whole, spare, "container", "replicator")
        assert client.put(f"handoff/late{number:02}", b"x").status == 201
    replicate(whole)
    assert not target.exists()
    elapse(0.5, "the last rows reach their third server after the answer")
    replicate(whole)
    check_replicas(whole, "handoff")
