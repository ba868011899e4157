"""What lies below /servers/ID: metadata, addresses, instance actions, and what is empty without other services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import webob
from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, ApiHandler, iso_micro
from objstore.compute.api.servers import tell_host
from objstore.compute.api.views import addresses
from objstore.compute.core import actions, quotas
from objstore.compute.core.context import change, get_server
from objstore.compute.core.networks import GROUP, security_group
from objstore.compute.errors import InvalidRequest, NotOffered, no_such
from objstore.compute.model.tables import ActionRow, ServerRow
from objstore.compute.protocol import MachineAction

Metadata = dict[str, str]


def _server(call: ApiCall, work: Callable[[SqlSession, ServerRow], Any]) -> Any:
    """What `work` makes of the server that the path names; nothing is changed."""
    return call.context.read(lambda session: work(session, get_server(session, call.caller, call.arguments["server"])))


def _metadata(call: ApiCall) -> webob.Response:
    return call.answer({"metadata": _server(call, lambda _, row: row.user_metadata)})


def _metadata_item(call: ApiCall) -> webob.Response:
    key = call.arguments["key"]
    found = _server(call, lambda _, row: row.user_metadata)
    if key not in found:
        raise no_such("metadata item", key)
    return call.answer({"meta": {key: found[key]}})


def _write(call: ApiCall, new: Callable[[Metadata], Metadata]) -> Metadata:
    """Replace the server's metadata by what `new` makes of it."""

    def work(session: SqlSession) -> Metadata:
        row = get_server(session, call.caller, call.arguments["server"])
        actions.check_unlocked(row, call.caller)
        wanted = new(dict(row.user_metadata))
        quotas.check_metadata(quotas.limits_of(session, row.project_id, call.context.limits.quotas), wanted)
        change(session, call.context, row, user_metadata=wanted)
        tell_host(session, call, row)
        return wanted

    written: Metadata = call.context.run(work)
    return written


def _replace_metadata(call: ApiCall) -> webob.Response:
    given = call.body(dict[str, str], "metadata")
    return call.answer({"metadata": _write(call, lambda _: given)})


def _add_metadata(call: ApiCall) -> webob.Response:
    given = call.body(dict[str, str], "metadata")
    return call.answer({"metadata": _write(call, lambda old: old | given)})


def _put_item(call: ApiCall) -> webob.Response:
    given, key = call.body(dict[str, str], "meta"), call.arguments["key"]
    if set(given) != {key}:
        raise InvalidRequest("Request body and URI mismatch")
    _write(call, lambda old: old | given)
    return call.answer({"meta": given})


def _delete_item(call: ApiCall) -> webob.Response:
    key = call.arguments["key"]

    def without(old: Metadata) -> Metadata:
        if key not in old:
            raise no_such("metadata item", key)
        del old[key]
        return old

    _write(call, without)
    return call.empty(204)


def _bare_addresses(row: ServerRow) -> dict[str, list[dict[str, Any]]]:
    return {
        label: [{"addr": each["addr"], "version": each["version"]} for each in found]
        for label, found in addresses(row).items()
    }


def _ips(call: ApiCall) -> webob.Response:
    return call.answer({"addresses": _server(call, lambda _, row: _bare_addresses(row))})


def _ips_of_network(call: ApiCall) -> webob.Response:
    found, label = _server(call, lambda _, row: _bare_addresses(row)), call.arguments["network"]
    if label not in found:
        raise no_such("network", label)
    return call.answer({label: found[label]})


def _diagnostics(call: ApiCall) -> webob.Response:
    outcome = actions.ask_host(call.context, call.caller, call.arguments["server"], MachineAction.DIAGNOSTICS)
    return call.answer(outcome.diagnostics)


def _view(row: ActionRow) -> dict[str, Any]:
    return {
        "action": row.action,
        "instance_uuid": row.server_id,
        "message": row.message,
        "project_id": row.project_id,
        "request_id": row.request_id,
        "start_time": iso_micro(row.started_at),
        "user_id": row.user_id,
    }


def _actions(call: ApiCall) -> webob.Response:
    def look(session: SqlSession) -> list[dict[str, Any]]:
        row = get_server(session, call.caller, call.arguments["server"], deleted=True)
        found = select(ActionRow).where(ActionRow.server_id == row.id).order_by(ActionRow.id.desc()).limit(1000)
        return [_view(each) for each in session.scalars(found)]

    return call.answer({"instanceActions": call.context.read(look)})


def _action(call: ApiCall) -> webob.Response:
    def look(session: SqlSession) -> dict[str, Any]:
        row = get_server(session, call.caller, call.arguments["server"], deleted=True)
        found = select(ActionRow).where(
            ActionRow.server_id == row.id, ActionRow.request_id == call.arguments["request"]
        )
        entry = session.scalars(found.limit(1)).one_or_none()
        if entry is None:
            raise no_such("action", call.arguments["request"])
        shown = _view(entry)
        if call.caller.is_admin:
            event = {
                "event": f"compute_{entry.action}",
                "start_time": iso_micro(entry.started_at),
                "finish_time": iso_micro(entry.finished_at),
                "result": None if entry.finished_at is None else "Error" if entry.message else "Success",
                "traceback": None,
            }
            shown["events"] = [event]
        return shown

    return call.answer({"instanceAction": call.context.read(look)})


def _empty_list(key: str) -> ApiHandler:
    def handler(call: ApiCall) -> webob.Response:
        _server(call, lambda _, row: None)
        return call.answer({key: []})

    return handler


def _interfaces(call: ApiCall) -> webob.Response:
    _server(call, lambda _, row: None)
    raise NotOffered("Ports are not offered without a network service.")


def _attach_volume(call: ApiCall) -> webob.Response:
    _server(call, lambda _, row: None)
    raise InvalidRequest("Volumes are not offered: a server's disks are those of its flavor.")


def _password(call: ApiCall) -> webob.Response:
    _server(call, lambda _, row: None)
    return call.answer({"password": ""})


def _clear_password(call: ApiCall) -> webob.Response:
    _server(call, lambda _, row: None)
    return call.empty(204)


def _security_groups(call: ApiCall) -> webob.Response:
    groups = _server(call, lambda _, row: row.security_groups)
    return call.answer({"security_groups": [security_group(call.project_id)] if GROUP in groups else []})


def _console(call: ApiCall) -> webob.Response:
    _server(call, lambda _, row: None)
    raise InvalidRequest("Unavailable console type: machines have no display. Read the console's log.")


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /servers/{server}/metadata": _metadata,
    "PUT /servers/{server}/metadata": _replace_metadata,
    "POST /servers/{server}/metadata": _add_metadata,
    "GET /servers/{server}/metadata/{key}": _metadata_item,
    "PUT /servers/{server}/metadata/{key}": _put_item,
    "DELETE /servers/{server}/metadata/{key}": _delete_item,
    "GET /servers/{server}/ips": _ips,
    "GET /servers/{server}/ips/{network}": _ips_of_network,
    "GET /servers/{server}/diagnostics": _diagnostics,
    "GET /servers/{server}/os-instance-actions": _actions,
    "GET /servers/{server}/os-instance-actions/{request}": _action,
    "GET /servers/{server}/os-volume_attachments": _empty_list("volumeAttachments"),
    "POST /servers/{server}/os-volume_attachments": _attach_volume,
    "GET /servers/{server}/os-interface": _empty_list("interfaceAttachments"),
    "POST /servers/{server}/os-interface": _interfaces,
    "GET /servers/{server}/migrations": _empty_list("migrations"),
    "GET /servers/{server}/os-virtual-interfaces": _empty_list("virtual_interfaces"),
    "GET /servers/{server}/os-server-password": _password,
    "DELETE /servers/{server}/os-server-password": _clear_password,
    "GET /servers/{server}/os-security-groups": _security_groups,
    "POST /servers/{server}/remote-consoles": _console,
}
