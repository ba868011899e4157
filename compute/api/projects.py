"""What a project has and may have: limits, quotas, usage, server groups."""

from __future__ import annotations

import datetime
from typing import Any, Final

import webob
from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, ApiHandler, iso_micro, read_time
from objstore.compute.api.servers import checked_name
from objstore.compute.core import metering, quotas
from objstore.compute.core.context import new_id
from objstore.compute.core.states import status_of
from objstore.compute.errors import InvalidRequest, NotPermitted, no_such
from objstore.compute.model.tables import QuotaRow, ServerGroupRow, ServerRow

POLICIES: Final = ("affinity", "anti-affinity")
# What absolute limits are called -> the quota; and what is used.
LIMIT_NAMES: Final = {
    "maxServerMeta": "metadata_items",
    "maxImageMeta": "metadata_items",
    "maxPersonality": "injected_files",
    "maxPersonalitySize": "injected_file_content_bytes",
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalRAMSize": "ram",
    "maxTotalKeypairs": "key_pairs",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
    "maxSecurityGroups": "security_groups",
    "maxSecurityGroupRules": "security_group_rules",
    "maxTotalFloatingIps": "floating_ips",
}
USED_NAMES: Final = {
    "totalInstancesUsed": "instances",
    "totalCoresUsed": "cores",
    "totalRAMUsed": "ram",
    "totalServerGroupsUsed": "server_groups",
    "totalSecurityGroupsUsed": "security_groups",
    "totalFloatingIpsUsed": "floating_ips",
}


def _of_project(call: ApiCall, project: str) -> str:
    """Raises NotPermitted for another project than the caller's, unless an administrator asks."""
    if project != call.project_id and not call.caller.is_admin:
        raise NotPermitted("Policy doesn't allow to look at other projects.")
    return project


def _limits(call: ApiCall) -> webob.Response:
    project = _of_project(call, call.query.get("tenant_id", call.project_id))

    def look(session: SqlSession) -> dict[str, int]:
        limits = quotas.limits_of(session, project, call.context.limits.quotas)
        used = quotas.used_by(session, project, call.caller.user_id) | {"security_groups": 1}
        return {name: limits[key] for name, key in LIMIT_NAMES.items()} | {
            name: used[key] for name, key in USED_NAMES.items()
        }

    return call.answer({"limits": {"rate": [], "absolute": call.context.read(look)}})


def _quota(call: ApiCall) -> webob.Response:
    project = _of_project(call, call.arguments["tenant"])
    limits = call.context.read(lambda session: quotas.limits_of(session, project, call.context.limits.quotas))
    return call.answer({"quota_set": {"id": project, **limits}})


def _quota_detail(call: ApiCall) -> webob.Response:
    project = _of_project(call, call.arguments["tenant"])

    def look(session: SqlSession) -> dict[str, Any]:
        limits = quotas.limits_of(session, project, call.context.limits.quotas)
        used = quotas.used_by(session, project, call.caller.user_id)
        return {name: {"limit": limit, "in_use": used[name], "reserved": 0} for name, limit in limits.items()}

    return call.answer({"quota_set": {"id": project} | call.context.read(look)})


def _quota_defaults(call: ApiCall) -> webob.Response:
    defaults = quotas.DEFAULTS | call.context.limits.quotas
    return call.answer({"quota_set": {"id": call.arguments["tenant"], **defaults}})


def _set_quota(call: ApiCall) -> webob.Response:
    call.require_admin()
    project, given = call.arguments["tenant"], call.body(dict[str, int | str | bool], "quota_set")
    wanted = {key: value for key, value in given.items() if key not in ("force", "tenant_id", "id")}
    for key, value in wanted.items():
        number = str(value)
        if key not in quotas.DEFAULTS or not number.lstrip("-").isdigit() or not -1 <= int(number) <= 2**31 - 1:
            raise InvalidRequest(f"Invalid input for {key[:64]}: a quota of ours, from -1 to {2**31 - 1}.")

    def work(session: SqlSession) -> dict[str, int]:
        used = quotas.used_by(session, project)
        for key, value in wanted.items():
            if 0 <= int(value) < used[key] and str(given.get("force", "")).lower() != "true":
                raise InvalidRequest(f"Quota limit {value} for {key} must be greater than or equal to {used[key]}.")
            session.merge(QuotaRow(project_id=project, resource=key, limit=int(value)))
        session.flush()
        return quotas.limits_of(session, project, call.context.limits.quotas)

    return call.answer({"quota_set": call.context.run(work)})


def _drop_quota(call: ApiCall) -> webob.Response:
    call.require_admin()
    project = call.arguments["tenant"]
    call.context.run(lambda session: session.execute(delete(QuotaRow).where(QuotaRow.project_id == project)))
    return call.empty(202)


def _quota_class(call: ApiCall) -> webob.Response:
    call.require_admin()
    return call.answer({"quota_class_set": {"id": "default", **quotas.DEFAULTS, **call.context.limits.quotas}})


def _period(call: ApiCall) -> tuple[datetime.datetime, datetime.datetime]:
    """Four weeks up to now, or what the query says. Raises InvalidRequest."""
    now = call.context.now()
    end = read_time(call.query["end"], "end") if "end" in call.query else now
    start = read_time(call.query["start"], "start") if "start" in call.query else now - datetime.timedelta(weeks=4)
    if start > end:
        raise InvalidRequest("Invalid start time. The start time cannot occur after the end time.")
    return start, end


def _usage(
    call: ApiCall, project: str, found: list[metering.ServerUsage], servers: dict[str, ServerRow], detailed: bool
) -> dict[str, Any]:
    start, end = _period(call)
    shown: dict[str, Any] = {
        "tenant_id": project,
        "start": iso_micro(start),
        "stop": iso_micro(end),
        "total_hours": sum(each.hours for each in found),
        "total_local_gb_usage": sum(each.hours * each.row.disk_gb for each in found),
        "total_memory_mb_usage": sum(each.hours * each.row.ram_mb for each in found),
        "total_vcpus_usage": sum(each.hours * each.row.vcpus for each in found),
    }
    if detailed:
        shown["server_usages"] = [_interval(call, each, servers.get(each.row.server_id)) for each in found]
    return shown


def _interval(call: ApiCall, each: metering.ServerUsage, server: ServerRow | None) -> dict[str, Any]:
    row, state = each.row, "terminated"
    if server is not None and server.deleted_at is None:
        state = status_of(server.vm_state, server.task_state).lower()
    return {
        "started_at": iso_micro(row.started_at),
        "ended_at": iso_micro(row.ended_at),
        "flavor": row.flavor,
        "hours": each.hours,
        "instance_id": row.server_id,
        "local_gb": row.disk_gb,
        "memory_mb": row.ram_mb,
        "name": row.name,
        "state": state,
        "tenant_id": row.project_id,
        "uptime": int(((row.ended_at or call.context.now()) - row.started_at).total_seconds()),
        "vcpus": row.vcpus,
    }


def _usages(call: ApiCall, project: str | None, detailed: bool) -> list[dict[str, Any]]:
    start, end = _period(call)

    def look(session: SqlSession) -> list[dict[str, Any]]:
        by_project: dict[str, list[metering.ServerUsage]] = {}
        for each in metering.usage(session, start, end, project):
            by_project.setdefault(each.row.project_id, []).append(each)
        ids = {each.row.server_id for found in by_project.values() for each in found} if detailed else set()
        servers = {row.id: row for row in session.scalars(select(ServerRow).where(ServerRow.id.in_(ids)))}
        return [_usage(call, name, found, servers, detailed) for name, found in by_project.items()]

    found: list[dict[str, Any]] = call.context.read(look)
    return found


def _all_usage(call: ApiCall) -> webob.Response:
    call.require_admin()
    return call.answer({"tenant_usages": _usages(call, None, call.query.get("detailed") == "1")})


def _project_usage(call: ApiCall) -> webob.Response:
    found = _usages(call, _of_project(call, call.arguments["tenant"]), detailed=True)
    return call.answer({"tenant_usage": found[0] if found else {}})


class GroupBody(Struct, forbid_unknown_fields=True):
    name: str
    policies: list[str]


def _group(session: SqlSession, row: ServerGroupRow) -> dict[str, Any]:
    members = session.scalars(
        select(ServerRow.id).where(ServerRow.group_id == row.id, ServerRow.deleted_at.is_(None))
    ).all()
    return {"id": row.id, "name": row.name, "policies": [row.policy], "members": list(members), "metadata": {}}


def _groups(call: ApiCall) -> webob.Response:
    limit, offset = call.limit(), int(call.query.get("offset", "0")) if call.query.get("offset", "0").isdigit() else 0

    def look(session: SqlSession) -> list[dict[str, Any]]:
        wanted = select(ServerGroupRow).order_by(ServerGroupRow.id).limit(limit).offset(offset)
        if not (call.caller.is_admin and "all_projects" in call.query):
            wanted = wanted.where(ServerGroupRow.project_id == call.project_id)
        return [_group(session, row) for row in session.scalars(wanted)]

    return call.answer({"server_groups": call.context.read(look)})


def _create_group(call: ApiCall) -> webob.Response:
    body = call.body(GroupBody, "server_group")
    if len(body.policies) != 1 or body.policies[0] not in POLICIES:
        raise InvalidRequest(f"A group has one policy: {' or '.join(POLICIES)}.")
    name = checked_name(body.name)

    def work(session: SqlSession) -> dict[str, Any]:
        limits = quotas.limits_of(session, call.project_id, call.context.limits.quotas)
        quotas.check(limits, quotas.used_by(session, call.project_id), {"server_groups": 1})
        row = ServerGroupRow(
            id=new_id(),
            project_id=call.project_id,
            user_id=call.caller.user_id,
            name=name,
            policy=body.policies[0],
            rules={},
        )
        session.add(row)
        session.flush()
        return _group(session, row)

    return call.answer({"server_group": call.context.run(work)})


def _get_group(session: SqlSession, call: ApiCall) -> ServerGroupRow:
    row = session.get(ServerGroupRow, call.arguments["group"])
    if row is None or (row.project_id != call.project_id and not call.caller.is_admin):
        raise no_such("instance group", call.arguments["group"])
    return row


def _show_group(call: ApiCall) -> webob.Response:
    return call.answer({"server_group": call.context.read(lambda session: _group(session, _get_group(session, call)))})


def _delete_group(call: ApiCall) -> webob.Response:
    call.context.run(lambda session: session.delete(_get_group(session, call)))
    return call.empty(204)


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /limits": _limits,
    "GET /os-quota-sets/{tenant}": _quota,
    "GET /os-quota-sets/{tenant}/detail": _quota_detail,
    "GET /os-quota-sets/{tenant}/defaults": _quota_defaults,
    "PUT /os-quota-sets/{tenant}": _set_quota,
    "DELETE /os-quota-sets/{tenant}": _drop_quota,
    "GET /os-quota-class-sets/{tenant}": _quota_class,
    "GET /os-simple-tenant-usage": _all_usage,
    "GET /os-simple-tenant-usage/{tenant}": _project_usage,
    "GET /os-server-groups": _groups,
    "POST /os-server-groups": _create_group,
    "GET /os-server-groups/{group}": _show_group,
    "DELETE /os-server-groups/{group}": _delete_group,
}
