"""The part power of the object rings is increased under load, with the commands of an operator."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from objstore.bench.growth import Growth
from objstore.object.part_power import partition_of
from objstore.object.versions import live_names, resolve_versions
from objstore.ring.format import read_ring
from objstore.tools.loopback import LoopbackCluster
from tests.functional.servers import Cluster, run_all
from tests.waiting import elapse

RINGS = ("object", "object-1")
NODES = range(1, 5)
WORKERS = 2
LOAD_SECONDS = 0.3


def enter(cluster: Cluster, step: str) -> None:
    """Take one step with all rings of objects, everywhere."""
    run_all([["ring", "power", f"{ring}.builder", step] for ring in RINGS], cluster.folder)
    nodes = LoopbackCluster.open(cluster.folder).nodes
    proxies = [f"--to={node.ip}:{node.replication_port('proxy')}" for node in nodes]
    rings = [f"{ring}.ring.gz" for ring in RINGS]
    run_all([["ring", "publish", *rings, "--cluster", "objstore.toml", *proxies]], cluster.folder)


def on_all_nodes(cluster: Cluster, *words: str) -> None:
    """One command with the configuration of each object server."""
    run_all([[*words, "--config", f"{cluster.folder}/node{node}/object.toml"] for node in NODES])


def stored(cluster: Cluster) -> dict[tuple[str, str], dict[str, list[str]]]:
    """The names of files by device and partition, by the policy's folder and the hash."""
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    for file in cluster.folder.glob("node*/**/objects*/*/*/*/*"):
        *device, folder, partition, _, digest, name = file.parts
        if len(digest) == 32 and partition.isdecimal() and "quarantined" not in device:
            found.setdefault((folder, digest), {}).setdefault(f"{'/'.join(device)} {partition}", []).append(name)
    return found


def test_the_partitions_are_doubled_under_load_and_nobody_notices(cluster: Cluster) -> None:
    load = Growth(LoopbackCluster.open(cluster.folder), seconds=LOAD_SECONDS, workers=WORKERS)
    power = read_ring(str(cluster.folder / "object.ring.gz")).part_power
    status, _ = load._endpoints[0].request("PUT", f"/{load._container}")
    assert status == 201
    ended = threading.Event()
    with load._undo, ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(worker.run, ended) for worker in load.workers]
        try:
            elapse(LOAD_SECONDS, "clients read and write in this phase")
            enter(cluster, "prepare")
            elapse(LOAD_SECONDS, "clients read and write in this phase")
            on_all_nodes(cluster, "relinker", "relink")
            enter(cluster, "increase")
            elapse(LOAD_SECONDS, "clients read and write in this phase")
            on_all_nodes(cluster, "relinker", "cleanup")
            enter(cluster, "finish")
            elapse(LOAD_SECONDS, "clients read and write in this phase")
        finally:
            ended.set()
        for each in running:
            each.result()
        on_all_nodes(cluster, "object-daemons", "--only", "replicator", "--once")
        for number, worker in enumerate(load.workers):
            worker.verify(load._session(load._endpoints[number]))
    assert load.findings.failures == []
    assert load.findings.answered > 100

    assert read_ring(str(cluster.folder / "node1/rings/object.ring.gz")).part_power == power + 1
    everything = stored(cluster)
    assert len(everything) > 20
    for (folder, digest), places in everything.items():
        home = partition_of(digest, power + 1)
        assert {place.split()[-1] for place in places} == {home}, (folder, digest, places)
        versions = {live_names(resolve_versions(names)) for names in places.values()}
        assert len(versions) == 1, (folder, digest, places)
        assert len(places) == 3
