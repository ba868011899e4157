"""Servers as the API shows them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, iso, iso_micro
from objstore.compute.core.states import WITH_PROGRESS, status_of
from objstore.compute.model.tables import AggregateRow, HostRow, ServerRow

HostPlaces = dict[str, tuple[str, str]]  # host id -> its name and its zone


def links(call: ApiCall, kind: str, name: str) -> list[dict[str, str]]:
    """The two links of a resource."""
    return [
        {"rel": "self", "href": f"{call.base}/v2.1/{kind}/{name}"},
        {"rel": "bookmark", "href": f"{call.base}/{kind}/{name}"},
    ]


def next_link(call: ApiCall, path: str, last: str, limit: int) -> list[dict[str, str]]:
    """The link to the page after this one."""
    query = call.web.request.GET.copy()
    query["marker"], query["limit"] = last, str(limit)
    return [{"rel": "next", "href": f"{call.base}/v2.1{path}?{urlencode(list(query.items()))}"}]


def host_places(session: SqlSession, servers: Iterable[ServerRow]) -> HostPlaces:
    """The names and zones of the hosts of some servers."""
    ids = {row.host_id for row in servers if row.host_id}
    rows = session.scalars(select(HostRow).where(HostRow.id.in_(ids))).all() if ids else []
    zones: dict[str, str] = {}
    for aggregate in session.scalars(select(AggregateRow)) if rows else ():
        if zone := aggregate.details.get("availability_zone"):
            zones |= dict.fromkeys(aggregate.hosts, zone)
    return {row.id: (row.name, zones.get(row.name, row.availability_zone)) for row in rows}


def brief(call: ApiCall, row: ServerRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": links(call, "servers", row.id)}


def host_id(row: ServerRow, host: str) -> str:
    """The host's name as only one project sees it."""
    return hashlib.sha224(f"{row.project_id}{host}".encode()).hexdigest() if host else ""


def addresses(row: ServerRow) -> dict[str, list[dict[str, Any]]]:
    """The addresses of a server by its networks."""
    found: dict[str, list[dict[str, Any]]] = {}
    for each in row.addresses:
        found.setdefault(each["network"], []).append(
            {
                "addr": each["address"],
                "version": each["version"],
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": each["mac"],
            }
        )
    return found


def shown_fault(call: ApiCall, row: ServerRow) -> dict[str, Any]:
    """A fault; its details are for administrators."""
    fault = row.fault or {}
    shown = {"code": fault["code"], "created": fault["created"], "message": fault["message"]}
    return shown | ({"details": fault["details"]} if call.caller.is_admin else {})


def detail(call: ApiCall, row: ServerRow, places: HostPlaces) -> dict[str, Any]:
    """A server with all that the version and the caller's role show."""
    status = status_of(row.vm_state, row.task_state)
    host, zone = places.get(row.host_id or "", ("", (row.availability_zone or "").partition(":")[0]))
    image = row.image["id"]
    shown = {
        "id": row.id,
        "name": row.name,
        "status": status,
        "tenant_id": row.project_id,
        "user_id": row.user_id,
        "metadata": row.user_metadata,
        "created": iso(row.created_at),
        "updated": iso(row.updated_at),
        "hostId": host_id(row, host),
        "image": {"id": image, "links": links(call, "images", image)[1:]},
        "flavor": {"id": row.flavor["id"], "links": links(call, "flavors", row.flavor["id"])[1:]},
        "addresses": addresses(row),
        "accessIPv4": row.access_ipv4,
        "accessIPv6": row.access_ipv6,
        "links": links(call, "servers", row.id),
        "key_name": row.key_name,
        "config_drive": "True" if row.config_drive else "",
        "OS-DCF:diskConfig": row.disk_config,
        "OS-EXT-AZ:availability_zone": zone,
        "OS-EXT-STS:vm_state": row.vm_state,
        "OS-EXT-STS:task_state": row.task_state,
        "OS-EXT-STS:power_state": row.power_state,
        "OS-SRV-USG:launched_at": iso_micro(row.launched_at),
        "OS-SRV-USG:terminated_at": iso_micro(row.terminated_at),
        "os-extended-volumes:volumes_attached": [],
    }
    if row.security_groups:
        shown["security_groups"] = [{"name": name} for name in row.security_groups]
    if status in WITH_PROGRESS:
        shown["progress"] = row.progress
    if row.fault and status in ("ERROR", "DELETED"):
        shown["fault"] = shown_fault(call, row)
    if call.caller.is_admin:
        shown |= {
            "OS-EXT-SRV-ATTR:host": host or None,
            "OS-EXT-SRV-ATTR:hypervisor_hostname": host or None,
            "OS-EXT-SRV-ATTR:instance_name": f"instance-{row.id[:8]}",
        }
    return shown
