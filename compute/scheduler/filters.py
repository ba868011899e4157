"""Filters: each says why a host cannot have a server, or "" if it can. Free capacity and liveness are asked of SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from objstore.compute.model.tables import HostRow

BUILDING_MAX: Final = 10  # machines that a host builds at once
SERVERS_MAX: Final = 500  # of one host
IMAGE_ARCHITECTURES: Final = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class PlacementRequest:
    """What a server needs of its host."""

    flavor: Mapping[str, Any]
    image: Mapping[str, Any]
    project_id: str
    zone: str | None = None
    tried: frozenset[str] = frozenset()  # ids of hosts where it could not be built
    different_from: frozenset[str] = frozenset()  # ids of hosts of servers that it must not be with
    same_as: frozenset[str] | None = None  # ids of hosts, one of which it must be on
    group_policy: str = ""
    group_hosts: Mapping[str, int] = field(default_factory=dict)  # host id -> servers of its group there
    group_max_on_host: int = 1

    @property
    def disk_gb(self) -> int:
        return int(self.flavor["disk_gb"] + self.flavor["ephemeral_gb"])


@dataclass(frozen=True)
class CandidateHost:
    """A host that is up and has room, with what its aggregates say of it."""

    row: HostRow
    details: Mapping[str, tuple[str, ...]]  # metadata of its aggregates: key -> values

    @property
    def zone(self) -> str:
        zones = self.details.get("availability_zone")
        return zones[0] if zones else self.row.availability_zone


HostFilter = Callable[[CandidateHost, PlacementRequest], str]


def retry(host: CandidateHost, request: PlacementRequest) -> str:
    return "could not build it before" if host.row.id in request.tried else ""


def availability_zone(host: CandidateHost, request: PlacementRequest) -> str:
    zone, _, name = (request.zone or "").partition(":")
    if name and name != host.row.name:
        return f"is not {name}"
    return f"is not in zone {zone}" if zone and zone != host.zone else ""


def architecture(host: CandidateHost, request: PlacementRequest) -> str:
    """ImageProperties: the architecture and the kind of hypervisor that the image was made for."""
    properties = request.image.get("properties", {})
    wanted = properties.get("hw_architecture") or properties.get("architecture")
    if wanted and IMAGE_ARCHITECTURES.get(wanted, wanted) != host.row.architecture:
        return f"is no {wanted}"
    hypervisor = properties.get("img_hv_type") or properties.get("hypervisor_type")
    if hypervisor and hypervisor.lower() not in (host.row.driver, "kvm" if host.row.driver == "qemu" else ""):
        return f"does not run {hypervisor}"
    return ""


def capabilities(host: CandidateHost, request: PlacementRequest) -> str:
    """Extra specs: `capabilities:KEY` of the host; `aggregate_instance_extra_specs:KEY` and bare keys of aggregates."""
    for key, wanted in request.flavor.get("extra_specs", {}).items():
        scope, _, name = key.rpartition(":")
        if scope == "capabilities":
            have: tuple[str, ...] = (str(getattr(host.row, name, "")),)
        elif scope in ("", "aggregate_instance_extra_specs"):
            have = host.details.get(name, ())
        else:
            continue
        if wanted.removeprefix("<in> ").removeprefix("s== ") not in have:
            return f"lacks {key}={wanted}"
    return ""


def tenancy(host: CandidateHost, request: PlacementRequest) -> str:
    """AggregateMultiTenancyIsolation: hosts that are reserved for some projects."""
    projects = [name.strip() for value in host.details.get("filter_tenant_id", ()) for name in value.split(",")]
    return "is reserved for other projects" if projects and request.project_id not in projects else ""


def busy(host: CandidateHost, request: PlacementRequest) -> str:
    if host.row.building >= BUILDING_MAX:
        return f"is building {host.row.building} machines"
    return f"has {host.row.servers} machines" if host.row.servers >= SERVERS_MAX else ""


def neighbours(host: CandidateHost, request: PlacementRequest) -> str:
    """DifferentHost and SameHost."""
    if host.row.id in request.different_from:
        return "has a server it must not be with"
    return (
        "does not have the servers it must be with"
        if request.same_as not in (None, frozenset()) and (host.row.id not in (request.same_as or ()))
        else ""
    )


def group(host: CandidateHost, request: PlacementRequest) -> str:
    """ServerGroupAffinity and ServerGroupAntiAffinity. The soft ones weigh, they do not filter."""
    if request.group_policy == "affinity" and request.group_hosts and host.row.id not in request.group_hosts:
        return "has no server of its group"
    there = request.group_hosts.get(host.row.id, 0)
    if request.group_policy == "anti-affinity" and there >= request.group_max_on_host:
        return "has a server of its group"
    return ""


FILTERS: Final[tuple[HostFilter, ...]] = (
    retry,
    availability_zone,
    architecture,
    capabilities,
    tenancy,
    busy,
    neighbours,
    group,
)


def refusal(host: CandidateHost, request: PlacementRequest) -> str:
    """Why the host cannot have the server; "" if it can."""
    return next((reason for each in FILTERS if (reason := each(host, request))), "")
