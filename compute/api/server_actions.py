"""POST /servers/ID/action: one key says which action, its value with what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import msgspec
import webob
from msgspec import UNSET, Struct, UnsetType, field
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, ApiHandler
from objstore.compute.api.servers import checked_address, checked_name
from objstore.compute.api.views import detail, host_places
from objstore.compute.core import actions, hosts
from objstore.compute.core.context import change, finish_action, get_server, new_password, record_action
from objstore.compute.core.create import image_copy
from objstore.compute.core.networks import GROUP, check_security_groups
from objstore.compute.errors import InvalidRequest, NotOffered, NotPermitted, StateConflict, no_such
from objstore.compute.protocol import CONSOLE_BYTES_MAX, ImageSource, MachineAction

Action = Callable[[ApiCall, str, Any], webob.Response]
LINE_BYTES: Final = 200  # a generous guess, so that enough lines are read


def perform(call: ApiCall) -> webob.Response:
    document = call.web.json_as(dict[str, Any])
    if len(document) != 1:
        raise InvalidRequest("The body names one action.")
    ((key, value),) = document.items()
    action = ACTIONS.get(key)
    if action is None:
        raise InvalidRequest(f"There is no such action: {key[:64]}.")
    return action(call, call.arguments["server"], value)


def _plain(key: str, call: ApiCall, server: str, value: Any) -> webob.Response:
    actions.act(call.context, call.caller, server, key, call.web.id)
    return call.empty(202)


def _confirm(call: ApiCall, server: str, value: Any) -> webob.Response:
    actions.act(call.context, call.caller, server, "confirmResize", call.web.id)
    return call.empty(204)


def _reboot(call: ApiCall, server: str, value: Any) -> webob.Response:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind.upper() not in ("SOFT", "HARD"):
        raise InvalidRequest("reboot has a type: SOFT or HARD.")
    return _plain("reboot" if kind.upper() == "SOFT" else "reboot_hard", call, server, value)


class ResizeBody(Struct, forbid_unknown_fields=True):
    flavorRef: str | int
    disk_config: str = field(default="MANUAL", name="OS-DCF:diskConfig")


def _resize(call: ApiCall, server: str, value: Any) -> webob.Response:
    body = _read(ResizeBody, value)
    actions.resize(call.context, call.caller, server, str(body.flavorRef).rpartition("/")[2], call.web.id)
    return call.empty(202)


def _revert(call: ApiCall, server: str, value: Any) -> webob.Response:
    actions.revert_resize(call.context, call.caller, server, call.web.id)
    return call.empty(202)


class RebuildBody(Struct, forbid_unknown_fields=True):
    imageRef: str
    name: str | UnsetType = UNSET
    admin_password: str | UnsetType = field(default=UNSET, name="adminPass")
    user_metadata: dict[str, str] | UnsetType = field(default=UNSET, name="metadata")
    access_ipv4: str | UnsetType = field(default=UNSET, name="accessIPv4")
    access_ipv6: str | UnsetType = field(default=UNSET, name="accessIPv6")
    disk_config: str | UnsetType = field(default=UNSET, name="OS-DCF:diskConfig")
    preserve_ephemeral: bool | UnsetType = UNSET


def _rebuild(call: ApiCall, server: str, value: Any) -> webob.Response:
    body = _read(RebuildBody, value)
    if body.preserve_ephemeral is not UNSET and body.preserve_ephemeral:
        raise InvalidRequest("Ephemeral disks cannot be preserved.")
    values = {
        name: given
        for name, given in msgspec.structs.asdict(body).items()
        if given is not UNSET and name not in ("imageRef", "preserve_ephemeral")
    }
    if "name" in values:
        checked_name(values["name"])
    for name, version in (("access_ipv4", 4), ("access_ipv6", 6)):
        if name in values:
            values[name] = checked_address(values[name], version)
    image = body.imageRef.rpartition("/")[2]
    row = actions.rebuild(call.context, call.caller, server, image, call.web.id, **values)

    def look(session: SqlSession) -> dict[str, Any]:
        return detail(call, row, host_places(session, [row])) | {"adminPass": row.admin_password}

    shown = call.context.read(look)
    for name in [
        key for key in shown if key.startswith(("OS-EXT-", "OS-SRV-", "os-ext", "key_name", "config_", "sec"))
    ]:
        del shown[name]
    return call.answer({"server": shown}, 202, {"Location": f"{call.base}/v2.1/servers/{row.id}"})


class ImageBody(Struct, forbid_unknown_fields=True):
    name: str
    metadata: dict[str, str] = {}


def _create_image(call: ApiCall, server: str, value: Any) -> webob.Response:
    body = _read(ImageBody, value)
    image = actions.snapshot(call.context, call.caller, server, checked_name(body.name), body.metadata, call.web.id)
    return call.empty(202, {"Location": f"{call.base}/images/{image}"})


class BackupBody(Struct, forbid_unknown_fields=True):
    name: str
    backup_type: str
    rotation: int | str
    metadata: dict[str, str] = {}


def _create_backup(call: ApiCall, server: str, value: Any) -> webob.Response:
    """A snapshot that replaces the oldest of its kind, so that `rotation` of them are left."""
    body = _read(BackupBody, value)
    rotation = int(body.rotation) if str(body.rotation).isdigit() else -1
    if rotation < 0 or not body.backup_type or len(body.backup_type) > 255:
        raise InvalidRequest("A backup has a backup_type and a rotation, a number from 0.")
    context, token = call.context, call.caller.token
    marks = {"backup_type": body.backup_type, "image_type": "backup", "instance_uuid": server}
    headers = {}
    if rotation:
        image = actions.snapshot(
            context, call.caller, server, checked_name(body.name), body.metadata, call.web.id, marks=marks
        )
        headers = {"Location": f"{call.base}/images/{image}"}
    else:
        context.read(lambda session: get_server(session, call.caller, server))
    kept = context.images.list(token, marks | {"sort": "created_at:desc"})
    for old in kept[rotation:]:
        context.images.delete(token, old["id"])
    return call.empty(202, headers)


def _shelve(call: ApiCall, server: str, value: Any) -> webob.Response:
    actions.shelve(call.context, call.caller, server, call.web.id)
    return call.empty(202)


def _unshelve(call: ApiCall, server: str, value: Any) -> webob.Response:
    actions.unshelve(call.context, call.caller, server, call.web.id)
    return call.empty(202)


def _rescue(call: ApiCall, server: str, value: Any) -> webob.Response:
    """Boot another image, with the server's disk beside it: the one that is named, or the server's own."""
    given = value or {}
    password = given.get("adminPass") or new_password()
    image_id = str(given.get("rescue_image_ref") or "").rpartition("/")[2]
    if image_id:
        image = image_copy(call.context.images.show(call.caller.token, image_id))
    else:
        image = call.context.read(lambda session: get_server(session, call.caller, server).image)
    actions.act(
        call.context,
        call.caller,
        server,
        "rescue",
        call.web.id,
        task={"rescue_image": msgspec.convert(image, ImageSource)},
        admin_password=password,
    )
    return call.answer({"adminPass": password})


def _change(call: ApiCall, server: str, action: str, **values: Any) -> webob.Response:
    """A change of the row alone."""

    def work(session: SqlSession) -> None:
        row = get_server(session, call.caller, server)
        if values.get("locked_by", "") is None and row.locked_by == "admin" and not call.caller.is_admin:
            raise NotPermitted("The server was locked by an administrator.")
        record_action(session, call.context, row, action, call.caller, call.web.id)
        finish_action(session, call.context, row)
        change(session, call.context, row, **values)

    call.context.run(work)
    return call.empty(202)


def _lock(call: ApiCall, server: str, value: Any) -> webob.Response:
    owner = call.context.read(lambda session: get_server(session, call.caller, server).project_id)
    by = "owner" if owner == call.caller.project_id else "admin"
    return _change(call, server, "lock", locked_by=by, locked_reason=None)


def _unlock(call: ApiCall, server: str, value: Any) -> webob.Response:
    return _change(call, server, "unlock", locked_by=None, locked_reason=None)


def _reset_state(call: ApiCall, server: str, value: Any) -> webob.Response:
    state = value.get("state") if isinstance(value, dict) else ""
    actions.set_state(call.context, call.caller, server, str(state), call.web.id)
    return call.empty(202)


def _force_delete(call: ApiCall, server: str, value: Any) -> webob.Response:
    actions.delete(call.context, call.caller, server, call.web.id, force=True)
    return call.empty(202)


def _console_output(call: ApiCall, server: str, value: Any) -> webob.Response:
    """The last lines of the console; all that the host keeps without a length."""
    length = (value or {}).get("length")
    if length is not None and not (str(length).lstrip("-").isdigit() and int(length) >= -1):
        raise InvalidRequest("length is a number of lines, or -1 for all.")
    lines = None if length in (None, "", -1, "-1") else int(length)
    most = CONSOLE_BYTES_MAX if lines is None else min(CONSOLE_BYTES_MAX, lines * LINE_BYTES)
    text = actions.ask_host(call.context, call.caller, server, MachineAction.CONSOLE, console_bytes=most).output
    if lines is not None:
        text = "\n".join(text.split("\n")[-lines - (1 if text.endswith("\n") else 0) :]) if lines else ""
    return call.answer({"output": text})


def _security_group(call: ApiCall, server: str, value: Any) -> webob.Response:
    name = value.get("name") if isinstance(value, dict) else None
    call.context.read(lambda session: get_server(session, call.caller, server))
    if name != GROUP:
        raise no_such("security group", str(name))
    check_security_groups([{"name": GROUP}])
    return call.empty(202)


def _evacuate(call: ApiCall, server: str, value: Any) -> webob.Response:
    """Start a server of a lost host elsewhere, from its last snapshot; for administrators."""
    call.require_admin()
    password = (value or {}).get("adminPass") or new_password()
    if not hosts.start_elsewhere(call.context, server):
        raise StateConflict("The server's host is not fenced, or the server has no snapshot to start from.")
    return call.answer({"adminPass": password})


def _not_offered(reason: str, call: ApiCall, server: str, value: Any) -> webob.Response:
    call.context.read(lambda session: get_server(session, call.caller, server))
    raise NotOffered(reason)


def _no_console(call: ApiCall, server: str, value: Any) -> webob.Response:
    """Machines have no display; what they write on their serial port is in the console's log."""
    call.context.read(lambda session: get_server(session, call.caller, server))
    raise InvalidRequest("Unavailable console type: machines have no display. Read the console's log.")


def _read(kind: Any, value: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(str(error)) from error


NO_PORTS: Final = partial(_not_offered, "Addresses and ports are not offered without a network service.")
NO_MIGRATION: Final = partial(_not_offered, "Hosts share no disks: shelve the server and unshelve it instead.")
ACTIONS: Final[dict[str, Action]] = {
    **{key: partial(_plain, key) for key in ("os-start", "os-stop", "pause", "unpause", "suspend", "resume")},
    **{key: partial(_plain, key) for key in ("unrescue", "restore", "shelveOffload")},
    "reboot": _reboot,
    "resize": _resize,
    "confirmResize": _confirm,
    "revertResize": _revert,
    "rebuild": _rebuild,
    "createImage": _create_image,
    "createBackup": _create_backup,
    "shelve": _shelve,
    "unshelve": _unshelve,
    "rescue": _rescue,
    "lock": _lock,
    "unlock": _unlock,
    "os-resetState": _reset_state,
    "forceDelete": _force_delete,
    "os-getConsoleOutput": _console_output,
    **{f"os-get{kind}Console": _no_console for kind in ("VNC", "SPICE", "RDP", "Serial", "MKS")},
    "addSecurityGroup": _security_group,
    "removeSecurityGroup": _security_group,
    "evacuate": _evacuate,
    "migrate": NO_MIGRATION,
    "os-migrateLive": NO_MIGRATION,
    "changePassword": partial(_not_offered, "The driver cannot set passwords: rebuild the server, or use a key."),
    "addFloatingIp": NO_PORTS,
    "removeFloatingIp": NO_PORTS,
    "addFixedIp": NO_PORTS,
    "removeFixedIp": NO_PORTS,
    "resetNetwork": NO_PORTS,
    "injectNetworkInfo": NO_PORTS,
    "trigger_crash_dump": partial(_not_offered, "The driver cannot inject interrupts."),
}
ROUTES: Final[dict[str, ApiHandler]] = {"POST /servers/{server}/action": perform}
