"""/servers: list, create, show, change, delete."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final
from uuid import UUID

import msgspec
import webob
from msgspec import UNSET, Struct, UnsetType, field
from sqlalchemy import String, and_, cast, or_, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, ApiHandler, read_time
from objstore.compute.api.views import brief, detail, host_places, links, next_link
from objstore.compute.core import actions
from objstore.compute.core.context import change, get_server, new_id, queue_task
from objstore.compute.core.create import NewServers, create_servers
from objstore.compute.core.networks import check_networks, check_security_groups
from objstore.compute.core.states import states_of
from objstore.compute.errors import InvalidRequest
from objstore.compute.model.tables import HostRow, ServerRow
from objstore.compute.protocol import HostTask, MachineAction

REGEX_MAX: Final = 64  # characters of a filter
SORT_KEYS: Final = {
    "created_at": ServerRow.created_at,
    "display_name": ServerRow.name,
    "name": ServerRow.name,
    "updated_at": ServerRow.updated_at,
    "uuid": ServerRow.id,
    "vm_state": ServerRow.vm_state,
    "launched_at": ServerRow.launched_at,
    "key_name": ServerRow.key_name,
}
DEVICE_KEYS: Final = frozenset(
    {"boot_index", "uuid", "source_type", "destination_type", "volume_size", "delete_on_termination", "device_name"}
    | {"disk_bus", "device_type", "guest_format", "no_device", "tag", "volume_type"}
)


class ServerBody(Struct, forbid_unknown_fields=True):
    """What POST /servers has under "server"."""

    name: str
    flavorRef: str | int
    imageRef: str | None = None
    networks: Any = None
    key_name: str | None = None
    user_data: str | None = None
    config_drive: bool | str | None = None
    metadata: dict[str, str] = {}
    availability_zone: str | None = None
    min_count: int | str | None = None
    max_count: int | str | None = None
    security_groups: list[dict[str, str]] = []
    block_device_mapping_v2: list[dict[str, Any]] = []
    block_device_mapping: list[dict[str, Any]] = []
    access_ipv4: str | None = field(default=None, name="accessIPv4")
    access_ipv6: str | None = field(default=None, name="accessIPv6")
    admin_password: str | None = field(default=None, name="adminPass")
    personality: list[Any] = []
    return_reservation_id: bool | str = False
    disk_config: str = field(default="MANUAL", name="OS-DCF:diskConfig")
    hints: dict[str, Any] = field(default_factory=dict, name="os:scheduler_hints")


class CreateBody(Struct, forbid_unknown_fields=True):
    """The body of POST /servers; hints may stand beside the server too."""

    server: ServerBody
    hints: dict[str, Any] = field(default_factory=dict, name="os:scheduler_hints")
    old_hints: dict[str, Any] = field(default_factory=dict, name="OS-SCH-HNT:scheduler_hints")


def boolean(value: bool | str | None) -> bool:
    """Raises InvalidRequest."""
    if isinstance(value, bool) or value is None:
        return bool(value)
    if value.lower() in ("true", "1", "yes", "on", "t", "y"):
        return True
    if value.lower() in ("false", "0", "no", "off", "f", "n", ""):
        return False
    raise InvalidRequest(f"Unrecognized value {value[:50]!r}: true or false is expected.")


def checked_name(name: str) -> str:
    """Raises InvalidRequest."""
    if not 1 <= len(name) <= 255 or name != name.strip() or not name.isprintable():
        raise InvalidRequest("A name has 1 to 255 printable characters, and no blank at its ends.")
    return name


def checked_address(text: str | None, version: int) -> str:
    """An address of IPv4 or IPv6, "" for none. Raises InvalidRequest."""
    if not text:
        return ""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or address.version != version:
        raise InvalidRequest(f"accessIPv{version} is not proper IPv{version} format")
    return text


def _count(value: int | str | None, name: str, default: int) -> int:
    if value is None:
        return default
    if isinstance(value, str) and not re.fullmatch(r"\d{1,9}", value, re.ASCII):
        raise InvalidRequest(f"Invalid input for {name}: {value[:50]!r}.")
    if int(value) < 1:
        raise InvalidRequest(f"Invalid input for {name}: it is at least 1.")
    return int(value)


def _image_id(body: ServerBody) -> str:
    """The image of a server: `imageRef`, or that of the boot device. Volumes are refused."""
    image = (body.imageRef or "").rpartition("/")[2]
    if body.block_device_mapping:
        raise InvalidRequest("Volumes are not offered: a server boots from an image.")
    for device in body.block_device_mapping_v2:
        if unknown := set(device) - DEVICE_KEYS:
            raise InvalidRequest(f"Unknown keys of a block device: {', '.join(sorted(unknown))}")
        source = device.get("source_type"), device.get("destination_type", "local")
        if source == ("image", "local") and str(device.get("boot_index")) == "0":
            if image not in ("", device.get("uuid")):
                raise InvalidRequest("The image of the boot device is not imageRef.")
            image = str(device.get("uuid"))
        elif source != ("blank", "local"):
            raise InvalidRequest("Volumes are not offered: a server boots from an image.")
    try:
        return str(UUID(image))
    except ValueError:
        raise InvalidRequest("Invalid imageRef provided.") from None


def create(call: ApiCall) -> webob.Response:
    document: CreateBody = call.web.json_as(CreateBody)
    body = document.server
    if body.personality:
        raise InvalidRequest("Injected files are not offered: use user_data or a config drive.")
    if body.disk_config not in ("MANUAL", "AUTO"):
        raise InvalidRequest("OS-DCF:diskConfig must be either 'MANUAL' or 'AUTO'.")
    least = _count(body.min_count, "min_count", 1)
    groups = check_security_groups(body.security_groups)
    wanted = NewServers(
        name=checked_name(body.name),
        image_id=_image_id(body),
        flavor_id=str(body.flavorRef).rpartition("/")[2],
        min_count=least,
        max_count=_count(body.max_count, "max_count", least),
        key_name=body.key_name,
        user_data=body.user_data,
        config_drive=boolean(body.config_drive),
        metadata=body.metadata,
        availability_zone=body.availability_zone,
        hints=document.hints | document.old_hints | body.hints,
        security_groups=groups,
        without_network=check_networks(body.networks),
        admin_password=body.admin_password,
        access_ipv4=checked_address(body.access_ipv4, 4),
        access_ipv6=checked_address(body.access_ipv6, 6),
        disk_config=body.disk_config,
    )
    rows = create_servers(call.context, call.caller, wanted, call.web.id)
    if boolean(body.return_reservation_id):
        return call.answer({"reservation_id": rows[0].reservation_id}, 202)
    row = rows[0]
    shown = {
        "id": row.id,
        "links": links(call, "servers", row.id),
        "OS-DCF:diskConfig": row.disk_config,
        "security_groups": [{"name": name} for name in row.security_groups],
        "adminPass": row.admin_password,
    }
    return call.answer({"server": shown}, 202, {"Location": f"{call.base}/v2.1/servers/{row.id}"})


def show(call: ApiCall) -> webob.Response:
    def look(session: SqlSession) -> dict[str, Any]:
        row = get_server(session, call.caller, call.arguments["server"])
        return detail(call, row, host_places(session, [row]))

    return call.answer({"server": call.context.read(look)})


class ChangeBody(Struct, forbid_unknown_fields=True):
    """What PUT /servers/ID has under "server"."""

    name: str | UnsetType = UNSET
    access_ipv4: str | UnsetType | None = field(default=UNSET, name="accessIPv4")
    access_ipv6: str | UnsetType | None = field(default=UNSET, name="accessIPv6")
    disk_config: str | UnsetType = field(default=UNSET, name="OS-DCF:diskConfig")


def update(call: ApiCall) -> webob.Response:
    body = call.body(ChangeBody, "server")
    values = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
    if not values:
        raise InvalidRequest("There is nothing to change.")
    if "name" in values:
        checked_name(values["name"])
    for name, version in (("access_ipv4", 4), ("access_ipv6", 6)):
        if name in values:
            values[name] = checked_address(values[name], version)
    if values.get("disk_config", "AUTO") not in ("MANUAL", "AUTO"):
        raise InvalidRequest("OS-DCF:diskConfig must be either 'MANUAL' or 'AUTO'.")

    def work(session: SqlSession) -> dict[str, Any]:
        row = get_server(session, call.caller, call.arguments["server"])
        change(session, call.context, row, **values)
        tell_host(session, call, row)
        return detail(call, row, host_places(session, [row]))

    shown = call.context.run(work)
    for name in [
        key for key in shown if key.startswith(("OS-EXT-", "OS-SRV-", "os-ext", "key_name", "config_", "sec"))
    ]:
        del shown[name]
    return call.answer({"server": shown})


def tell_host(session: SqlSession, call: ApiCall, row: ServerRow) -> None:
    """The server's metadata service shall tell what changed."""
    if row.host_id is not None:
        queue_task(session, call.context, row, "update", HostTask(new_id(), row.id, MachineAction.UPDATE))


def delete(call: ApiCall) -> webob.Response:
    actions.delete(call.context, call.caller, call.arguments["server"], call.web.id)
    return call.empty(204)


def _listing(call: ApiCall, full: bool) -> webob.Response:
    limit = call.limit()

    def look(session: SqlSession) -> tuple[list[dict[str, Any]], str | None]:
        rows = _page(session, call, limit)
        more = len(rows) > limit
        rows = rows[:limit]
        places = host_places(session, rows) if full else {}
        shown = [detail(call, row, places) if full else brief(call, row) for row in rows]
        return shown, rows[-1].id if more and rows else None

    shown, last = call.context.read(look)
    document: dict[str, Any] = {"servers": shown}
    if last is not None:
        document["servers_links"] = next_link(call, "/servers/detail" if full else "/servers", last, limit)
    return call.answer(document)


def _page(session: SqlSession, call: ApiCall, limit: int) -> list[ServerRow]:
    """The servers of a page and, if there is one, the first of the next."""
    conditions = _conditions(call)
    if conditions is None:
        return []
    wanted = select(ServerRow).where(*conditions)
    key = SORT_KEYS.get(call.query.get("sort_key", "created_at"))
    if key is None:
        raise InvalidRequest(f"Sort key {call.query['sort_key'][:50]!r} is not known.")
    rising = call.query.get("sort_dir", "desc") == "asc"
    if marker := call.query.get("marker"):
        row = session.get(ServerRow, marker)
        if row is None or (row.project_id != call.project_id and not call.caller.is_admin):
            raise InvalidRequest(f"marker [{marker[:36]}] not found")
        at = getattr(row, key.key)
        after = (key > at, ServerRow.id > row.id) if rising else (key < at, ServerRow.id < row.id)
        wanted = wanted.where(or_(after[0], and_(key == at, after[1])))
    order = (key.asc(), ServerRow.id.asc()) if rising else (key.desc(), ServerRow.id.desc())
    return list(session.scalars(wanted.order_by(*order).limit(limit + 1)))


def _conditions(call: ApiCall) -> list[Any] | None:
    """What the query asks for, in SQL; None if nothing can match. Filters of others than administrators are few."""
    query, found = call.query, list[Any]()
    everyone = call.caller.is_admin and boolean(query.get("all_tenants", query.get("all_projects", "false")) or "true")
    if not everyone:
        found.append(ServerRow.project_id == call.project_id)
    elif project := query.get("project_id", query.get("tenant_id")):
        found.append(ServerRow.project_id == project)
    if since := query.get("changes-since"):
        found.append(ServerRow.updated_at >= read_time(since, "changes-since"))
    elif call.caller.is_admin and boolean(query.get("deleted")):
        found.append(ServerRow.deleted_at.is_not(None))
    else:
        found.append(ServerRow.deleted_at.is_(None))
    if statuses := call.web.request.GET.getall("status"):
        pairs = [pair for each in statuses if (pair := states_of(each.upper()))]
        if not pairs:
            return None
        found.append(or_(*(_in_states(states, tasks) for states, tasks in pairs)))
    exact: dict[str, Any] = {
        "reservation_id": ServerRow.reservation_id,
        "uuid": ServerRow.id,
        "image": ServerRow.image["id"].as_string(),
        "flavor": ServerRow.flavor["id"].as_string(),
    }
    if call.caller.is_admin:
        exact["user_id"] = ServerRow.user_id
    found += [column == query[name].rpartition("/")[2] for name, column in exact.items() if name in query]
    matched: dict[str, Any] = {"name": ServerRow.name, "ip": cast(ServerRow.addresses, String)}
    found += [_matches(column, query[name]) for name, column in matched.items() if name in query]
    if call.caller.is_admin and "host" in query:
        found.append(_on_host(query["host"]))
    return found


def _on_host(name: str) -> Any:
    return ServerRow.host_id.in_(select(HostRow.id).where(HostRow.name == name))


def _in_states(states: set[str], tasks: set[str]) -> Any:
    """A status is a vm_state, unless a task makes it look like another."""
    condition = ServerRow.vm_state.in_(states)
    return and_(condition, ServerRow.task_state.in_(tasks)) if tasks else condition


def _matches(column: Any, pattern: str) -> Any:
    """A regular expression that cannot run long: no groups, and two repetitions at most. Others are taken as text."""
    risky = len(pattern) > REGEX_MAX or "(" in pattern or len(re.findall(r"(?<!\\)[*+?{]", pattern)) > 2
    try:
        re.compile(pattern)
    except re.error:
        risky = True
    return column.contains(pattern, autoescape=True) if risky else column.regexp_match(pattern)


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /servers": lambda call: _listing(call, full=False),
    "GET /servers/detail": lambda call: _listing(call, full=True),
    "POST /servers": create,
    "GET /servers/{server}": show,
    "PUT /servers/{server}": update,
    "DELETE /servers/{server}": delete,
}
