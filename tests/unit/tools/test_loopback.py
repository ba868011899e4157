"""What a loopback cluster is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.ring.format import read_ring
from objstore.tools.loopback import SERVICES, LoopbackCluster, Plan
from objstore.tools.problems import OperatorProblem


def test_every_node_has_its_address_ports_and_devices(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path / "cluster", Plan(devices_per_node=2, first_port=7000))
    ring = read_ring(str(cluster.directory / "object.ring.gz"))
    assert [(device.ip, device.port, device.device, device.zone) for device in ring.devices[:3]] == [
        ("127.0.0.1", 7002, "d1", 1),
        ("127.0.0.1", 7002, "d2", 1),
        ("127.0.0.2", 7002, "d1", 2),
    ]
    assert sorted(path.name for path in cluster.nodes[3].device_root.iterdir()) == ["d1", "d2"]


def test_configuration_is_what_the_servers_read(tmp_path: Path) -> None:
    plan = Plan(nodes=1, devices_per_node=3, workers=3, memcached="127.0.0.1:11211")
    (node,) = LoopbackCluster.make(tmp_path, plan).nodes
    proxy = load(node.configuration("proxy"), ProxyConfig)
    assert (str(proxy.server.bind), proxy.server.workers) == ("127.0.0.1:6203", 3)
    assert proxy.cache.memcached == ("127.0.0.1:11211",)
    storage = load(node.configuration("object"), ObjectConfig)
    assert storage.devices.root == str(node.device_root)
    assert not storage.devices.mount_check


def test_it_is_found_again_and_not_made_twice(tmp_path: Path) -> None:
    LoopbackCluster.make(tmp_path, Plan(nodes=3))
    assert len(LoopbackCluster.open(tmp_path).nodes) == 3
    with pytest.raises(OperatorProblem, match="already"):
        LoopbackCluster.make(tmp_path, Plan())


def test_nodes_are_chosen_by_number(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, Plan())
    assert [node.name for node in cluster.chosen(2)] == ["node2"]
    assert len(cluster.chosen(None)) == 4
    with pytest.raises(OperatorProblem, match="the nodes are 1 to 4"):
        cluster.chosen(5)


def test_wiping_empties_the_devices_of_one_node(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, Plan())
    for node in cluster.nodes:
        (node.device_root / "d1" / "objects").mkdir()
    cluster.wipe(cluster.chosen(3))
    left = [sorted(path.name for path in (node.device_root / "d1").iterdir()) for node in cluster.nodes]
    assert left == [["objects"], ["objects"], [], ["objects"]]


def test_nothing_runs_before_it_is_started(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, Plan())
    assert [node.process(name).process_id for node in cluster.nodes for name in SERVICES] == [None] * 16
