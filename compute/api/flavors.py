"""/flavors: sizes of machines, their extra specs, and who may use those that are not public."""

from __future__ import annotations

from typing import Any, Final

import webob
from msgspec import Struct, field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.api.calls import ApiCall, ApiHandler, whole_number
from objstore.compute.api.servers import boolean, checked_name
from objstore.compute.api.views import links, next_link
from objstore.compute.core.context import new_id
from objstore.compute.errors import AlreadyExists, InvalidRequest, no_such
from objstore.compute.model.tables import FlavorRow

NUMBER_MAX: Final = 2**31 - 1
SPECS_MAX: Final = 128
# What a new cell offers: id, name, VCPUs, MiB of memory, GiB of disk.
FIRST: Final = (
    ("1", "m1.tiny", 1, 512, 1),
    ("2", "m1.small", 1, 2048, 20),
    ("3", "m1.medium", 2, 4096, 40),
    ("4", "m1.large", 4, 8192, 80),
    ("5", "m1.xlarge", 8, 16384, 160),
    ("42", "m1.nano", 1, 128, 1),
    ("84", "m1.micro", 1, 192, 1),
)


def seed_flavors(session: SqlSession) -> None:
    """Give a cell its first flavors; nothing is changed where there are some."""
    if session.scalars(select(FlavorRow.id).limit(1)).one_or_none() is None:
        for name, label, vcpus, ram, disk in FIRST:
            session.add(FlavorRow(id=name, name=label, vcpus=vcpus, ram_mb=ram, disk_gb=disk))


def get_flavor(session: SqlSession, call: ApiCall) -> FlavorRow:
    """The flavor that the path names, if the caller may see it. Raises NoSuch."""
    row = session.get(FlavorRow, call.arguments["flavor"])
    if row is None or not (row.public or call.caller.is_admin or call.project_id in row.projects):
        raise no_such("flavor", call.arguments["flavor"])
    return row


def _brief(call: ApiCall, row: FlavorRow) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": links(call, "flavors", row.id)}


def _shown(call: ApiCall, row: FlavorRow) -> dict[str, Any]:
    return _brief(call, row) | {
        "ram": row.ram_mb,
        "disk": row.disk_gb,
        "swap": row.swap_mb or "",
        "OS-FLV-EXT-DATA:ephemeral": row.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": False,
        "vcpus": row.vcpus,
        "os-flavor-access:is_public": row.public,
        "rxtx_factor": row.rxtx_factor,
    }


def _listing(call: ApiCall, full: bool) -> webob.Response:
    limit, query = call.limit(), call.query
    wanted = select(FlavorRow)
    public = query.get("is_public", "true").lower()
    if call.caller.is_admin and public != "none":
        wanted = wanted.where(FlavorRow.public.is_(boolean(public)))
    for name, column in (("minRam", FlavorRow.ram_mb), ("minDisk", FlavorRow.disk_gb)):
        if name in query:
            wanted = wanted.where(column >= whole_number(query[name], name))
    keys = {"flavorid": FlavorRow.id, "id": FlavorRow.id, "name": FlavorRow.name, "memory_mb": FlavorRow.ram_mb}
    key: Any = (keys | {"vcpus": FlavorRow.vcpus, "root_gb": FlavorRow.disk_gb}).get(query.get("sort_key", "flavorid"))
    if key is None:
        raise InvalidRequest("The sort key is not known.")
    falling = query.get("sort_dir", "asc") == "desc"

    def look(session: SqlSession) -> list[FlavorRow]:
        order = (key.desc(), FlavorRow.id.desc()) if falling else (key.asc(), FlavorRow.id.asc())
        rows = session.scalars(wanted.order_by(*order)).all()
        return [row for row in rows if row.public or call.caller.is_admin or call.project_id in row.projects]

    rows = call.context.read(look)
    if marker := query.get("marker"):
        at = [index for index, row in enumerate(rows) if row.id == marker]
        if not at:
            raise InvalidRequest(f"marker [{marker[:255]}] not found")
        rows = rows[at[0] + 1 :]
    document: dict[str, Any] = {"flavors": [(_shown if full else _brief)(call, row) for row in rows[:limit]]}
    if len(rows) > limit and limit:
        path = "/flavors/detail" if full else "/flavors"
        document["flavors_links"] = next_link(call, path, rows[limit - 1].id, limit)
    return call.answer(document)


class FlavorBody(Struct, forbid_unknown_fields=True):
    name: str
    ram: int | str
    vcpus: int | str
    disk: int | str
    id: str | int | None = None
    ephemeral: int | str = field(default=0, name="OS-FLV-EXT-DATA:ephemeral")
    swap: int | str = 0
    rxtx_factor: float | str = 1.0
    public: bool | str = field(default=True, name="os-flavor-access:is_public")


def _number(value: int | str, name: str, least: int) -> int:
    number = whole_number(str(value) or "0", name)
    if not least <= number <= NUMBER_MAX:
        raise InvalidRequest(f"Invalid input for {name}: from {least} to {NUMBER_MAX}.")
    return number


def _create(call: ApiCall) -> webob.Response:
    call.require_admin()
    body = call.body(FlavorBody, "flavor")
    name = "" if body.id in (None, "auto", "") else str(body.id)
    if len(name) > 255 or name != name.strip():
        raise InvalidRequest("A flavor's id has at most 255 characters.")
    try:
        rxtx = float(body.rxtx_factor)
    except ValueError:
        raise InvalidRequest("rxtx_factor is a number.") from None
    if not 0 < rxtx < 3.4e38:
        raise InvalidRequest("rxtx_factor is above 0.")
    row = FlavorRow(
        id=name or new_id(),
        name=checked_name(body.name),
        vcpus=_number(body.vcpus, "vcpus", 1),
        ram_mb=_number(body.ram, "ram", 1),
        disk_gb=_number(body.disk, "disk", 0),
        ephemeral_gb=_number(body.ephemeral, "ephemeral", 0),
        swap_mb=_number(body.swap, "swap", 0),
        rxtx_factor=rxtx,
        public=boolean(body.public),
        extra_specs={},
        projects=[],
    )

    def work(session: SqlSession) -> None:
        same = select(FlavorRow.id).where(or_(FlavorRow.id == row.id, FlavorRow.name == row.name))
        if session.scalars(same).first() is not None:
            raise AlreadyExists(f"Flavor with name {row.name} or ID {row.id} already exists.")
        session.add(row)

    call.context.run(work)
    return call.answer({"flavor": _shown(call, row)})


def _show(call: ApiCall) -> webob.Response:
    return call.answer({"flavor": call.context.read(lambda session: _shown(call, get_flavor(session, call)))})


def _delete(call: ApiCall) -> webob.Response:
    call.require_admin()
    call.context.run(lambda session: session.delete(get_flavor(session, call)))
    return call.empty(202)


def _specs(call: ApiCall) -> webob.Response:
    return call.answer({"extra_specs": call.context.read(lambda session: get_flavor(session, call).extra_specs)})


def _one_spec(call: ApiCall) -> webob.Response:
    specs, key = call.context.read(lambda session: get_flavor(session, call).extra_specs), call.arguments["key"]
    if key not in specs:
        raise no_such("extra spec", key)
    return call.answer({key: specs[key]})


def _write_specs(call: ApiCall, given: dict[str, str]) -> None:
    call.require_admin()
    for key, value in given.items():
        if not 1 <= len(key) <= 255 or len(value) > 255 or not key.replace(":", "").replace(".", "").strip(" "):
            raise InvalidRequest("Keys of extra specs have 1 to 255 characters, values at most 255.")

    def work(session: SqlSession) -> None:
        row = get_flavor(session, call)
        row.extra_specs = row.extra_specs | given
        if len(row.extra_specs) > SPECS_MAX:
            raise InvalidRequest(f"A flavor has at most {SPECS_MAX} extra specs.")

    call.context.run(work)


def _add_specs(call: ApiCall) -> webob.Response:
    given = call.body(dict[str, str], "extra_specs")
    _write_specs(call, given)
    return call.answer({"extra_specs": given})


def _put_spec(call: ApiCall) -> webob.Response:
    given: dict[str, str] = call.web.json_as(dict[str, str])
    if set(given) != {call.arguments["key"]}:
        raise InvalidRequest("Request body and URI mismatch")
    _write_specs(call, given)
    return call.answer(given)


def _delete_spec(call: ApiCall) -> webob.Response:
    call.require_admin()

    def work(session: SqlSession) -> None:
        row, key = get_flavor(session, call), call.arguments["key"]
        if key not in row.extra_specs:
            raise no_such("extra spec", key)
        row.extra_specs = {name: value for name, value in row.extra_specs.items() if name != key}

    call.context.run(work)
    return call.empty(200)


def _access(call: ApiCall) -> webob.Response:
    call.require_admin()
    row = call.context.read(lambda session: get_flavor(session, call))
    if row.public:
        raise no_such("access list of flavor", row.id)
    return call.answer(_access_list(row))


def _access_list(row: FlavorRow) -> dict[str, Any]:
    return {"flavor_access": [{"flavor_id": row.id, "tenant_id": project} for project in row.projects]}


def _act(call: ApiCall) -> webob.Response:
    call.require_admin()
    document = call.web.json_as(dict[str, dict[str, str]])
    ((key, value),) = document.items() if len(document) == 1 else (("", {}),)
    project = value.get("tenant", "")
    if key not in ("addTenantAccess", "removeTenantAccess") or not project:
        raise InvalidRequest("The body is addTenantAccess or removeTenantAccess with a tenant.")

    def work(session: SqlSession) -> dict[str, Any]:
        row = get_flavor(session, call)
        if row.public:
            raise AlreadyExists("Can not change the access list of a public flavor.")
        there = project in row.projects
        if key == "addTenantAccess" and there:
            raise AlreadyExists(f"Flavor access already exists for flavor {row.id} and project {project}.")
        if key == "removeTenantAccess" and not there:
            raise no_such("flavor access of project", project)
        row.projects = [*row.projects, project] if not there else [each for each in row.projects if each != project]
        return _access_list(row)

    return call.answer(call.context.run(work))


ROUTES: Final[dict[str, ApiHandler]] = {
    "GET /flavors": lambda call: _listing(call, full=False),
    "GET /flavors/detail": lambda call: _listing(call, full=True),
    "POST /flavors": _create,
    "GET /flavors/{flavor}": _show,
    "DELETE /flavors/{flavor}": _delete,
    "GET /flavors/{flavor}/os-extra_specs": _specs,
    "POST /flavors/{flavor}/os-extra_specs": _add_specs,
    "GET /flavors/{flavor}/os-extra_specs/{key}": _one_spec,
    "PUT /flavors/{flavor}/os-extra_specs/{key}": _put_spec,
    "DELETE /flavors/{flavor}/os-extra_specs/{key}": _delete_spec,
    "GET /flavors/{flavor}/os-flavor-access": _access,
    "POST /flavors/{flavor}/action": _act,
}
