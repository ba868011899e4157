"""Devices and rings for tests of the ring."""

from __future__ import annotations

from random import Random

from objstore.devices import Device


def make_device(device_id: int, region: int = 1, zone: int = 1, ip: str = "10.0.0.1", weight: float = 100.0) -> Device:
    """A device with the facts that placement looks at; the rest follows from its id."""
    return Device(
        id=device_id,
        region=region,
        zone=zone,
        ip=ip,
        port=6200,
        replication_ip=ip,
        replication_port=6300,
        device=f"d{device_id}",
        weight=weight,
    )


def make_devices(count: int, zones: int = 4, servers_per_zone: int = 2, regions: int = 1) -> list[Device]:
    """Devices of equal weight, evenly spread over regions, zones and servers."""
    devices = []
    for device_id in range(count):
        zone = device_id % zones
        server = device_id // zones % servers_per_zone
        devices.append(make_device(device_id, zone % regions, zone, f"10.0.{zone}.{server}"))
    return devices


def random_devices(random: Random, count: int, weights: tuple[float, ...] = (50.0, 100.0, 200.0)) -> list[Device]:
    """Devices thrown onto a few regions, zones and servers, as no one would plan it."""
    regions, zones, servers = random.randint(1, 3), random.randint(1, 5), random.randint(1, 5)
    devices = []
    for device_id in range(count):
        region, zone = random.randrange(regions), random.randrange(zones)
        ip = f"10.{region}.{zone}.{random.randrange(servers)}"
        devices.append(make_device(device_id, region, zone, ip, random.choice(weights)))
    return devices
