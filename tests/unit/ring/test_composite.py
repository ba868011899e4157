from __future__ import annotations

import msgspec
import pytest

from objstore.ring.builder import build_ring
from objstore.ring.errors import BuilderError
from objstore.ring.ring import Ring, compose
from tests.unit.ring.factories import make_devices


def component(region: int, replicas: float = 2, part_power: int = 5, count: int = 6) -> Ring:
    devices = [msgspec.structs.replace(device, region=region, ip=f"10.{region}.0.1") for device in make_devices(count)]
    return build_ring(devices, part_power, replicas, seed=region)


def test_replicas_of_all_components_in_their_order() -> None:
    first, second = component(1), component(2, replicas=1)
    ring = compose([first, second], version=7)
    assert (ring.replica_count, ring.version, len(ring.devices)) == (3, 7, 12)
    for partition in range(32):
        expected = [*first.primaries(partition), *second.primaries(partition)]
        found = ring.primaries(partition)
        assert [(device.ip, device.device) for device in found] == [(device.ip, device.device) for device in expected]
        assert [device.region for device in found] == [1, 1, 2]


@pytest.mark.parametrize(
    ("components", "reason"),
    [
        ([component(1)], "two components or more"),
        ([component(1), component(2, part_power=4)], "component 2 has the part power 4, not 5"),
        ([component(1), component(2, replicas=1.5)], "no whole number"),
        ([component(1), component(2), component(1)], "component 3 shares region 1"),
        ([component(1), Ring(5, component(2).devices, component(2).rows, 1, 6)], "part power increase"),
    ],
)
def test_components_that_do_not_fit(components: list[Ring], reason: str) -> None:
    with pytest.raises(BuilderError, match=reason):
        compose(components, version=1)


def test_a_device_in_two_components() -> None:
    first = component(1)
    moved = [msgspec.structs.replace(device, region=2) for device in first.devices]
    with pytest.raises(BuilderError, match="is in two components"):
        compose([first, Ring(5, moved, first.rows)], version=1)
