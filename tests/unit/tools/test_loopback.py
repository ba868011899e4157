"""What a loopback cluster is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.config.account import AccountConfig
from objstore.config.container import ContainerConfig
from objstore.config.loading import load
from objstore.config.object import ObjectConfig
from objstore.config.proxy import ProxyConfig
from objstore.ring.builderfile import load_builder
from objstore.ring.format import read_ring
from objstore.tools.commands import OperatorProblem
from objstore.tools.loopback import SERVICES, ClusterPlan, LoopbackCluster


def test_every_node_has_its_address_ports_and_devices(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path / "cluster", ClusterPlan(devices_per_node=2, first_port=7000))
    ring = read_ring(str(cluster.directory / "object.ring.gz"))
    assert [(device.ip, device.port, device.device, device.zone) for device in ring.devices[:3]] == [
        ("127.0.0.1", 7000, "d1", 1),
        ("127.0.0.1", 7000, "d2", 1),
        ("127.0.0.2", 7000, "d1", 2),
    ]
    assert sorted(path.name for path in cluster.nodes[3].device_root.iterdir()) == ["d1", "d2"]


def test_configuration_is_what_the_servers_read(tmp_path: Path) -> None:
    plan = ClusterPlan(nodes=1, devices_per_node=3, workers=3, memcached="127.0.0.1:11211")
    (node,) = LoopbackCluster.make(tmp_path, plan).nodes
    proxy = load(node.configuration("proxy"), ProxyConfig)
    assert (str(proxy.server.bind), proxy.server.workers) == ("127.0.0.1:6203", 3)
    assert proxy.cache.memcached == ("127.0.0.1:11211",)
    storage = load(node.configuration("object"), ObjectConfig)
    assert storage.devices.root == str(node.device_root)
    assert not storage.devices.mount_check


def test_it_is_found_again_and_not_made_twice(tmp_path: Path) -> None:
    LoopbackCluster.make(tmp_path, ClusterPlan(nodes=3))
    assert len(LoopbackCluster.open(tmp_path).nodes) == 3
    with pytest.raises(OperatorProblem, match="already"):
        LoopbackCluster.make(tmp_path, ClusterPlan())


def test_nodes_are_chosen_by_number(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, ClusterPlan())
    assert [node.name for node in cluster.chosen(2)] == ["node2"]
    assert len(cluster.chosen(None)) == 4
    with pytest.raises(OperatorProblem, match="the nodes are 1 to 4"):
        cluster.chosen(5)


def test_wiping_empties_the_devices_of_one_node(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, ClusterPlan())
    for node in cluster.nodes:
        (node.device_root / "d1" / "objects").mkdir()
    cluster.wipe(cluster.chosen(3))
    left = [sorted(path.name for path in (node.device_root / "d1").iterdir()) for node in cluster.nodes]
    assert left == [["objects"], ["objects"], [], ["objects"]]


def test_nothing_runs_before_it_is_started(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, ClusterPlan())
    assert [node.process(name).process_id for node in cluster.nodes for name in SERVICES] == [None] * 16


def test_every_node_has_rings_of_its_own_and_the_builders_are_kept(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, ClusterPlan())
    for node in cluster.nodes:
        assert load(node.configuration("object"), ObjectConfig).ring_dir == str(node.ring_dir)
        for ring in ("account", "container", "object", "object-1"):
            assert (node.ring_dir / f"{ring}.ring.gz").read_bytes() == (tmp_path / f"{ring}.ring.gz").read_bytes()
            assert len(load_builder(str(tmp_path / f"{ring}.builder")).devices) == 4


def test_replication_has_ports_of_its_own(tmp_path: Path) -> None:
    cluster = LoopbackCluster.make(tmp_path, ClusterPlan(first_port=7000))
    config = load(cluster.nodes[1].configuration("object"), ObjectConfig)
    assert (str(config.server.bind), str(config.replication.bind)) == ("127.0.0.2:7000", "127.0.0.2:7004")
    ring = read_ring(str(tmp_path / "object.ring.gz"))
    assert ring.devices[1].on_replication.address == "127.0.0.2:7004"


def test_an_added_node_is_complete_but_in_no_ring(tmp_path: Path) -> None:
    LoopbackCluster.make(tmp_path, ClusterPlan(devices_per_node=2))
    added = LoopbackCluster.open(tmp_path).add_node().nodes[-1]
    assert (added.name, len(LoopbackCluster.open(tmp_path).nodes)) == ("node5", 5)
    assert sorted(path.name for path in added.device_root.iterdir()) == ["d1", "d2"]
    ring = read_ring(str(added.ring_dir / "object.ring.gz"))
    assert added.ip not in {device.ip for device in ring.devices}
    assert str(load(added.configuration("proxy"), ProxyConfig).server.bind) == "127.0.0.5:6203"


def test_storage_servers_are_numbered_as_in_the_samples(tmp_path: Path) -> None:
    (node,) = LoopbackCluster.make(tmp_path, ClusterPlan(nodes=1, devices_per_node=3)).nodes
    samples = Path(__file__).resolve().parents[3] / "etc"
    for service, kind in (("object", ObjectConfig), ("container", ContainerConfig), ("account", AccountConfig)):
        assert load(samples / f"{service}.toml", kind).server.bind.port == node.port(service)


def test_a_cluster_of_another_layout_is_refused(tmp_path: Path) -> None:
    LoopbackCluster.make(tmp_path, ClusterPlan())
    file = tmp_path / "cluster.json"
    file.write_text(file.read_text().replace('"version": 2', '"version": 1'))
    with pytest.raises(OperatorProblem, match="layout 1, this release makes 2"):
        LoopbackCluster.open(tmp_path)
