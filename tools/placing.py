"""Where a resource should be according to the rings: the partition, its devices, and how to look there."""

from __future__ import annotations

import os
import re
from itertools import islice
from shlex import quote as shell_quoted
from typing import Any, Final

from msgspec import Struct, structs

from objstore.cluster import Cluster
from objstore.devices import Device
from objstore.headers import Backend
from objstore.object.engine import Location
from objstore.object.part_power import resolve_location
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.ring.ring import Ring
from objstore.ring.rings import ACCOUNT_FILE, CONTAINER_FILE, object_file
from objstore.scheme import Scheme
from objstore.tools.commands import OperatorProblem

_PLACES: Final = re.compile(r"(?:^|\.)(account|container|object)(-\d+)?\.ring\.gz(?:\.previous)?$")
SUFFIX_LENGTH: Final = 3


class ReplicaPlace(Struct, frozen=True):
    """A device for a partition; `handoff` counts from 1, 0 is a primary. fragment: the number of the one it holds."""

    device: Device
    handoff: int
    head: str
    ls: str
    fragment: int | None = None


class ReplicaPlaces(Struct, frozen=True):
    """All that can be said of where something is. `hash` is empty for a partition alone.

    While the part power of the ring is increased, it may also lie in the partitions `also_in` of the same devices.
    """

    partition: int
    hash: str
    places: list[ReplicaPlace]
    also_in: tuple[int, ...] = ()

    def data(self) -> dict[str, Any]:
        shown = [
            {
                "handoff": place.handoff,
                "address": place.device.address,
                "replication_address": place.device.on_replication.address,
                "device": place.device.device,
                "region": place.device.region,
                "zone": place.device.zone,
                "head": place.head,
                "ls": place.ls,
                **({} if place.fragment is None else {"fragment": place.fragment}),
            }
            for place in self.places
        ]
        return {"partition": self.partition, "hash": self.hash, "places": shown, "also_in": self.also_in}


def ring_name(path: ResourcePath, policy: Policy) -> str:
    """The ring file that places it."""
    if path.is_object:
        return object_file(policy.index)
    return CONTAINER_FILE if path.is_container else ACCOUNT_FILE


def folder_of(path: ResourcePath, policy: Policy) -> str:
    """The folder of a device that holds such things."""
    if path.is_object:
        return policy.data_dir
    return "containers" if path.is_container else "accounts"


def chosen_devices(ring: Ring, partition: int, handoffs: int | None) -> list[tuple[Device, int]]:
    """The primaries, and so many handoffs (all for None), numbered from 1."""
    primaries = ring.primaries(partition)
    others = ring.handoffs(partition) if handoffs is None else islice(ring.handoffs(partition), handoffs)
    return [(device, 0) for device in primaries] + [(device, number) for number, device in enumerate(others, 1)]


def numbered(places: list[ReplicaPlace], scheme: Scheme) -> list[ReplicaPlace]:
    """The same, the primaries with the numbers of their fragments, if there are any."""
    if scheme.code is None:
        return places
    order = scheme.in_order(tuple(place.device for place in places if not place.handoff))
    numbers = {device.id: scheme.number(number) for number, device in enumerate(order)}
    return [place if place.handoff else structs.replace(place, fragment=numbers[place.device.id]) for place in places]


def places_of(
    ring: Ring, path: ResourcePath, cluster_file: str, policy: Policy, root: str, handoffs: int | None
) -> ReplicaPlaces:
    """Raises ConfigError."""
    cluster = Cluster.load(cluster_file)
    digest = cluster.hasher.digest(path)
    partition, hash_ = ring.partition_of(digest), digest.hex()
    below = f"{folder_of(path, policy)}/{partition}/{hash_[-SUFFIX_LENGTH:]}/{hash_}"
    places = [
        ReplicaPlace(device, number, _head(device, partition, path, policy, cluster_file), _ls(device, root, below))
        for device, number in chosen_devices(ring, partition, handoffs)
    ]
    if path.is_object:
        places = numbered(places, policy.scheme)
    also = resolve_location(Location(policy, str(partition), hash_, ""), ring).others if path.is_object else ()
    return ReplicaPlaces(partition, hash_, places, tuple(map(int, also)))


def places_of_partition(ring: Ring, partition: int, folder: str, root: str, handoffs: int | None) -> ReplicaPlaces:
    """Where a partition is. Raises IndexError for one that the ring does not have."""
    if not 0 <= partition < ring.partition_count:
        raise IndexError(partition)
    places = [
        ReplicaPlace(device, number, "", _ls(device, root, f"{folder}/{partition}"))
        for device, number in chosen_devices(ring, partition, handoffs)
    ]
    return ReplicaPlaces(partition, "", places)


def folder_of_ring(file: str) -> str:
    """The folder of a device that a ring file is about, by its name: "object-1.ring.gz" -> "objects-1".

    Backups and previous rings have longer names. Raises OperatorProblem for a name that does not say.
    """
    match = _PLACES.search(os.path.basename(file))
    if match is None:
        raise OperatorProblem(f"{file}: the name does not say what it places", "call it as object.ring.gz")
    return f"{match[1]}s{match[2] or ''}"


def only_device(places: ReplicaPlaces, device: str) -> ReplicaPlaces:
    """The same on one device name."""
    chosen = [place for place in places.places if place.device.device == device]
    return structs.replace(places, places=chosen)


def _head(device: Device, partition: int, path: ResourcePath, policy: Policy, cluster_file: str) -> str:
    words = ["objstore", "head", "--cluster", shell_quoted(cluster_file)]
    if path.is_object and policy.index:
        words += ("-H", shell_quoted(f"{Backend.POLICY_INDEX}: {policy.index}"))
    url = f"http://{device.address}/{device.device}/{partition}{path.quoted}"
    return " ".join((*words, shell_quoted(url)))


def _ls(device: Device, root: str, below: str) -> str:
    return f"ssh {device.ip} ls -lah {shell_quoted(f'{root}/{device.device}/{below}')}"
