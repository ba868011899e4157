"""What operators see and set: zones, aggregates, hypervisors, services."""

from __future__ import annotations

from typing import Any, Final

import webob
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, ApiHandler, iso_micro
from objstore.compute.api.servers import checked_name
from objstore.compute.api.views import brief
from objstore.compute.core import hosts
from objstore.compute.core.context import new_id
from objstore.compute.core.create import zones
from objstore.compute.errors import AlreadyExists, InvalidRequest, no_such
from objstore.compute.model.tables import AggregateRow, HostRow, ServerRow

BINARY: Final = "nova-compute"


def _hosts(session: SqlSession) -> list[HostRow]:
    return list(session.scalars(select(HostRow).order_by(HostRow.name).limit(10_000)))


def _zone_of(session: SqlSession) -> dict[str, str]:
    """The zone of each host, by its name."""
    found = {row.name: row.availability_zone for row in _hosts(session)}
    for aggregate in session.scalars(select(AggregateRow)):
        if zone := aggregate.details.get("availability_zone"):
            found |= {name: zone for name in aggregate.hosts if name in found}
    return found


def _zones(call: ApiCall) -> webob.Response:
    def look(session: SqlSession) -> list[dict[str, Any]]:
        own = _zone_of(session)
        up = {own[row.name] for row in _hosts(session) if row.enabled and call.context.is_up(row)}
        names = sorted(zones(session, call.context) & (set(own.values()) | {call.context.limits.zone}))
        return [{"zoneName": name, "zoneState": {"available": name in up}, "hosts": None} for name in names]

    return call.answer({"availabilityZoneInfo": call.context.read(look)})


def _zones_detail(call: ApiCall) -> webob.Response:
    call.require_admin()

    def look(session: SqlSession) -> list[dict[str, Any]]:
        own, found = _zone_of(session), dict[str, Any]()
        for row in _hosts(session):
            state = {
                "available": call.context.is_up(row),
                "active": row.enabled,
                "updated_at": iso_micro(row.seen_at),
            }
            found.setdefault(own[row.name], {})[row.name] = {BINARY: state}
        return [
            {
                "zoneName": name,
                "zoneState": {"available": any(each[BINARY]["available"] for each in there.values())},
                "hosts": there,
            }
            for name, there in sorted(found.items())
        ]

    return call.answer({"availabilityZoneInfo": call.context.read(look)})


class AggregateBody(Struct, forbid_unknown_fields=True):
    name: str | None = None
    availability_zone: str | None = None


def _aggregate(row: AggregateRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "availability_zone": row.details.get("availability_zone"),
        "hosts": row.hosts,
        "metadata": row.details,
        "created_at": iso_micro(row.created_at),
        "updated_at": iso_micro(row.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def _get_aggregate(session: SqlSession, call: ApiCall) -> AggregateRow:
    name = call.arguments["aggregate"]
    row = session.get(AggregateRow, int(name)) if name.isdigit() and len(name) < 10 else None
    if row is None:
        raise no_such("aggregate", name)
    return row


def _aggregates(call: ApiCall) -> webob.Response:
    call.require_admin()

    def look(session: SqlSession) -> list[dict[str, Any]]:
        return [_aggregate(row) for row in session.scalars(select(AggregateRow).order_by(AggregateRow.id))]

    return call.answer({"aggregates": call.context.read(look)})


def _create_aggregate(call: ApiCall) -> webob.Response:
    call.require_admin()
    body = call.body(AggregateBody, "aggregate")
    name = checked_name(body.name or "")

    def work(session: SqlSession) -> dict[str, Any]:
        if session.scalars(select(AggregateRow).where(AggregateRow.name == name)).first() is not None:
            raise AlreadyExists(f"Aggregate {name} already exists.")
        row = AggregateRow(uuid=new_id(), name=name, hosts=[], created_at=call.context.now())
        row.details = {"availability_zone": checked_name(body.availability_zone)} if body.availability_zone else {}
        session.add(row)
        session.flush()
        shown = _aggregate(row)
        del shown["hosts"], shown["metadata"]
        return shown

    return call.answer({"aggregate": call.context.run(work)})


def _change_aggregate(call: ApiCall) -> webob.Response:
    call.require_admin()
    body = call.body(AggregateBody, "aggregate")
    if body.name is None and body.availability_zone is None:
        raise InvalidRequest("There is nothing to change.")

    def work(session: SqlSession) -> dict[str, Any]:
        row = _get_aggregate(session, call)
        if body.name is not None:
            row.name = checked_name(body.name)
        if body.availability_zone is not None:
            row.details = row.details | {"availability_zone": checked_name(body.availability_zone)}
        row.updated_at = call.context.now()
        return _aggregate(row)

    return call.answer({"aggregate": call.context.run(work)})


def _show_aggregate(call: ApiCall) -> webob.Response:
    call.require_admin()
    return call.answer({"aggregate": call.context.read(lambda session: _aggregate(_get_aggregate(session, call)))})


def _delete_aggregate(call: ApiCall) -> webob.Response:
    call.require_admin()

    def work(session: SqlSession) -> None:
        row = _get_aggregate(session, call)
        if row.hosts:
            raise InvalidRequest("Cannot remove an aggregate that has hosts.")
        session.delete(row)

    call.context.run(work)
    return call.empty(200)


def _act_on_aggregate(call: ApiCall) -> webob.Response:
    call.require_admin()
    document = call.web.json_as(dict[str, dict[str, Any]])
    ((key, value),) = document.items() if len(document) == 1 else (("", {}),)
    if key not in ("add_host", "remove_host", "set_metadata"):
        raise InvalidRequest("The body is add_host, remove_host or set_metadata.")

    def work(session: SqlSession) -> dict[str, Any]:
        row, name = _get_aggregate(session, call), str(value.get("host"))
        row.updated_at = call.context.now()
        if key == "set_metadata":
            given = value.get("metadata") or {}
            row.details = {
                name: text for name, text in (row.details | given).items() if text is not None and len(str(text)) < 256
            }
            return _aggregate(row)
        known = session.scalars(select(HostRow).where(HostRow.name == name)).first() is not None
        there = name in row.hosts
        if not known or (key == "remove_host" and not there):
            raise no_such("compute host", name)
        if key == "add_host" and there:
            raise AlreadyExists(f"Aggregate {row.id} already has host {name}.")
        row.hosts = [*row.hosts, name] if key == "add_host" else [each for each in row.hosts if each != name]
        return _aggregate(row)

    return call.answer({"aggregate": call.context.run(work)})


def number_of(row: HostRow) -> int:
    """The number by which version 2.1 knows a host."""
    return int(row.id.replace("-", "")[:12], 16)


def _hypervisor(call: ApiCall, row: HostRow, full: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": number_of(row),
        "hypervisor_hostname": row.name,
        "state": "up" if call.context.is_up(row) else "down",
        "status": "enabled" if row.enabled else "disabled",
    }
    if not full:
        return shown
    free = max(0, row.disk_gb - row.disk_gb_used)
    return shown | {
        "cpu_info": "",
        "current_workload": row.building,
        "disk_available_least": free,
        "free_disk_gb": free,
        "free_ram_mb": row.ram_mb - row.ram_mb_used,
        "host_ip": row.address,
        "hypervisor_type": row.driver,
        "hypervisor_version": row.hypervisor_version,
        "local_gb": row.disk_gb,
        "local_gb_used": row.disk_gb_used,
        "memory_mb": row.ram_mb,
        "memory_mb_used": row.ram_mb_used,
        "running_vms": row.servers,
        "service": {"id": number_of(row), "host": row.name, "disabled_reason": row.disabled_reason},
        "vcpus": row.vcpus,
        "vcpus_used": row.vcpus_used,
    }


def _hypervisors(call: ApiCall, full: bool) -> webob.Response:
    call.require_admin()
    rows = call.context.read(_hosts)
    return call.answer({"hypervisors": [_hypervisor(call, row, full) for row in rows]})


def _find(call: ApiCall, name: str) -> HostRow:
    """A host by its number or id. Raises NoSuch."""
    rows: list[HostRow] = call.context.read(_hosts)
    for row in rows:
        if name in (row.id, str(number_of(row))):
            return row
    raise no_such("hypervisor", name)


def _show_hypervisor(call: ApiCall) -> webob.Response:
    call.require_admin()
    return call.answer({"hypervisor": _hypervisor(call, _find(call, call.arguments["hypervisor"]), full=True)})


def _search(call: ApiCall) -> webob.Response:
    """.../PATTERN/search and .../PATTERN/servers."""
    call.require_admin()
    pattern, with_servers = call.arguments["hypervisor"], call.web.request.path.endswith("/servers")

    def look(session: SqlSession) -> list[dict[str, Any]]:
        found = []
        for row in _hosts(session):
            if pattern in row.name:
                shown = _hypervisor(call, row, full=False)
                there = select(ServerRow).where(ServerRow.host_id == row.id, ServerRow.deleted_at.is_(None))
                if with_servers and (servers := session.scalars(there).all()):
                    shown["servers"] = [{"uuid": each.id, "name": brief(call, each)["name"]} for each in servers]
                found.append(shown)
        return found

    found = call.context.read(look)
    if not found:
        raise no_such("hypervisor", pattern)
    return call.answer({"hypervisors": found})


def _uptime(call: ApiCall) -> webob.Response:
    call.require_admin()
    row = _find(call, call.arguments["hypervisor"])
    raise InvalidRequest(f"The driver {row.driver} does not tell how long its host is up.")


def _statistics(call: ApiCall) -> webob.Response:
    call.require_admin()
    shown = [_hypervisor(call, row, full=True) for row in call.context.read(_hosts) if row.enabled]
    keys = ["current_workload", "disk_available_least", "free_disk_gb", "free_ram_mb", "local_gb", "local_gb_used"]
    keys += ["memory_mb", "memory_mb_used", "running_vms", "vcpus", "vcpus_used"]
    sums: dict[str, int] = {key: sum(each[key] for each in shown) for key in keys}
    return call.answer({"hypervisor_statistics": {"count": len(shown)} | sums})


def _service(call: ApiCall, row: HostRow, zone: str) -> dict[str, Any]:
    return {
        "id": number_of(row),
        "binary": BINARY,
        "host": row.name,
        "zone": zone,
        "status": "enabled" if row.enabled else "disabled",
        "state": "up" if call.context.is_up(row) else "down",
        "updated_at": iso_micro(row.seen_at),
        "disabled_reason": row.disabled_reason,
    }


def _services(call: ApiCall) -> webob.Response:
    call.require_admin()
    host, binary = call.query.get("host"), call.query.get("binary", BINARY)

    def look(session: SqlSession) -> list[dict[str, Any]]:
        own = _zone_of(session)
        return [_service(call, row, own[row.name]) for row in _hosts(session) if host in (None, row.name)]

    return call.answer({"services": call.context.read(look) if binary == BINARY else []})


class ServiceBody(Struct, forbid_unknown_fields=True):
    host: str
    binary: str = BINARY
    disabled_reason: str | None = None
    forced_down: bool | None = None


def _set_service(call: ApiCall) -> webob.Response:
    """.../enable, disable, disable-log-reason."""
    call.require_admin()
    verb, body = call.arguments["verb"], call.web.json_as(ServiceBody)
    if verb not in ("enable", "disable", "disable-log-reason"):
        raise no_such("action", verb)
    reason = body.disabled_reason if verb == "disable-log-reason" else None
    if verb == "disable-log-reason":
        reason = checked_name(reason or "")

    def work(session: SqlSession) -> None:
        row = session.scalars(select(HostRow).where(HostRow.name == body.host)).one_or_none()
        if row is None or body.binary != BINARY:
            raise no_such("compute host", body.host)
        row.enabled, row.disabled_reason = verb == "enable", reason
        row.generation += 1

    call.context.run(work)
    status = "enabled" if verb == "enable" else "disabled"
    more = {"disabled_reason": reason} if reason else {}
    return call.answer({"service": {"host": body.host, "binary": body.binary, "status": status} | more})


def _delete_service(call: ApiCall) -> webob.Response:
    call.require_admin()
    row = _find(call, call.arguments["service"])
    call.context.run(lambda session: hosts.forget(session, row.id))
    return call.empty(204)


def _migrations(call: ApiCall) -> webob.Response:
    call.require_admin()
    return call.answer({"migrations": []})


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /os-availability-zone": _zones,
    "GET /os-availability-zone/detail": _zones_detail,
    "GET /os-aggregates": _aggregates,
    "POST /os-aggregates": _create_aggregate,
    "GET /os-aggregates/{aggregate}": _show_aggregate,
    "PUT /os-aggregates/{aggregate}": _change_aggregate,
    "DELETE /os-aggregates/{aggregate}": _delete_aggregate,
    "POST /os-aggregates/{aggregate}/action": _act_on_aggregate,
    "GET /os-hypervisors": lambda call: _hypervisors(call, full=False),
    "GET /os-hypervisors/detail": lambda call: _hypervisors(call, full=True),
    "GET /os-hypervisors/statistics": _statistics,
    "GET /os-hypervisors/{hypervisor}": _show_hypervisor,
    "GET /os-hypervisors/{hypervisor}/uptime": _uptime,
    "GET /os-hypervisors/{hypervisor}/search": _search,
    "GET /os-hypervisors/{hypervisor}/servers": _search,
    "GET /os-services": _services,
    "PUT /os-services/{verb}": _set_service,
    "DELETE /os-services/{service}": _delete_service,
    "GET /os-migrations": _migrations,
}
