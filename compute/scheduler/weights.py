"""Weights: which of the hosts that could have a server should."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from objstore.compute.scheduler.filters import CandidateHost, PlacementRequest

Weigher = Callable[[CandidateHost, PlacementRequest], float]


def _soft_group(host: CandidateHost, request: PlacementRequest) -> float:
    there = request.group_hosts.get(host.row.id, 0)
    return {"soft-affinity": there, "soft-anti-affinity": -there}.get(request.group_policy, 0)


# Each is scaled to 0..1 over the hosts that are compared, then multiplied.
WEIGHERS: Final[tuple[tuple[Weigher, float], ...]] = (
    (lambda host, request: host.row.ram_mb - host.row.ram_mb_used, 1.0),
    (lambda host, request: host.row.vcpus - host.row.vcpus_used, 1.0),
    (lambda host, request: host.row.disk_gb - host.row.disk_gb_used, 1.0),
    (_soft_group, 1.0),
    (lambda host, request: host.row.building, -1.0),
    (lambda host, request: host.row.hypervisor_version, 1.0),
    # A host that keeps failing looks empty, and would get everything.
    (lambda host, request: min(host.row.failed_builds, 10), -1e6),
)


def best_first(hosts: Sequence[CandidateHost], request: PlacementRequest) -> list[CandidateHost]:
    """The hosts in the order in which they are tried."""
    sums = [0.0] * len(hosts)
    for weigh, factor in WEIGHERS:
        values = [weigh(host, request) for host in hosts]
        low, high = min(values, default=0), max(values, default=0)
        if high > low:
            sums = [each + factor * (value - low) / (high - low) for each, value in zip(sums, values, strict=True)]
    order = sorted(range(len(hosts)), key=lambda index: -sums[index])
    return [hosts[index] for index in order]
