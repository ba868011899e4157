"""Domains, projects, users and roles: one mechanism makes, lists, shows, changes and deletes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import webob
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.identity import documents
from objstore.identity.grants import forget_grants
from objstore.identity.records import (
    DEFAULT_DOMAIN,
    DOMAIN,
    NAME_LENGTH,
    PROJECT,
    DomainRecord,
    ProjectRecord,
    RoleGrant,
    RoleRecord,
    UserRecord,
)
from objstore.identity.revocations import of_target, of_user
from objstore.identity.standing import IMPLIED
from objstore.identity.state import IdentityState, missing, need_admin, need_user

LIST_MAX: Final = 10_000
TAGS_MAX: Final = 80
TEXT_MAX: Final = 16 * 1024  # characters of a description
BUILT_IN_ROLES: Final = frozenset({*IMPLIED, *(name for names in IMPLIED.values() for name in names), "service"})


class DomainValues(Struct):
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class ProjectValues(Struct):
    name: str | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    parent_id: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    is_domain: bool | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET


class UserValues(Struct):
    name: str | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    password: str | UnsetType | None = UNSET
    default_project_id: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET


class RoleValues(Struct):
    name: str | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET


def listed(call: Call, url: str, key: str, rows: list[dict[str, Any]], **more: Any) -> webob.Response:
    """A list as the API has it."""
    query = f"?{urlencode(list(call.request.GET.items()))}" if call.request.GET else ""
    links = {"self": url + call.request.path + query, "previous": None, "next": None}
    document: dict[str, Any] = {key: rows[:LIST_MAX], "links": links, **more}
    if len(rows) > LIST_MAX:
        document["truncated"] = True
    return json_answer(200, document)


def with_link(document: dict[str, Any], url: str, path: str) -> dict[str, Any]:
    return document | {"links": {"self": f"{url}/v3/{path}/{document['id']}"}}


@dataclass
class Resource:
    """One kind of record. Subclasses say what its values mean."""

    state: IdentityState
    kind: str = ""
    record: Any = None
    values: type[Struct] = Struct
    document: Callable[[Any], dict[str, Any]] = dict
    filters: tuple[str, ...] = ("name", "enabled", "domain_id", "parent_id")

    @property
    def plural(self) -> str:
        return self.kind + "s"

    def routes(self) -> list[WebRoute]:
        one = f"/v3/{self.plural}/{{id}}"
        return [
            WebRoute("GET", f"/v3/{self.plural}", self.list),
            WebRoute("POST", f"/v3/{self.plural}", self.create),
            WebRoute("GET", one, self.show),
            WebRoute("PATCH", one, self.update),
            WebRoute("DELETE", one, self.delete),
        ]

    def list(self, call: Call) -> webob.Response:
        self.check_list(call)
        query = select(self.record).order_by(self.record.name).limit(LIST_MAX + 1)
        for name in self.filters:
            if (value := call.request.GET.get(name)) is not None and hasattr(self.record, name):
                wanted = value.lower() not in ("false", "0") if name == "enabled" else value
                query = query.where(getattr(self.record, name) == wanted)
        with self.state.database.reading() as session:
            found = [self.shown(each) for each in self.filtered(call, session.scalars(query).all())]
        return listed(call, self.state.url, self.plural, found)

    def create(self, call: Call) -> webob.Response:
        need_admin(call)
        values = self._values(call)
        if "name" not in values:
            raise Fault(400, "The name is missing.")
        record = self._stored(lambda session: self.made(session, values))
        return json_answer(201, {self.kind: self.shown(record)})

    def show(self, call: Call) -> webob.Response:
        self.check_show(call)
        with self.state.database.reading() as session:
            return json_answer(200, {self.kind: self.shown(self.found(session, call))})

    def update(self, call: Call) -> webob.Response:
        need_admin(call)
        values = self._values(call)

        def change(session: Session) -> Any:
            record = self.found(session, call)
            self.changing(session, record, values)
            for name, value in values.items():
                setattr(record, name, value)
            session.flush()
            return record

        return json_answer(200, {self.kind: self.shown(self._stored(change))})

    def delete(self, call: Call) -> webob.Response:
        need_admin(call)

        def remove(session: Session) -> None:
            record = self.found(session, call)
            self.deleting(session, record)
            session.delete(record)

        self.state.database.run(remove)
        return empty_answer()

    def shown(self, record: Any) -> dict[str, Any]:
        return with_link(self.document(record), self.state.url, self.plural)

    def found(self, session: Session, call: Call) -> Any:
        """Raises Fault 404."""
        record = session.get(self.record, call.arguments["id"])
        if record is None:
            raise missing(self.kind, call.arguments["id"])
        return record

    def _values(self, call: Call) -> dict[str, Any]:
        body = call.json_as(dict[str, self.values])  # type: ignore[name-defined]
        if self.kind not in body:
            raise Fault(400, f"The body has no {self.kind}.")
        given = body[self.kind]
        values = {name: value for name in given.__struct_fields__ if (value := getattr(given, name)) is not UNSET}
        name = values.get("name", "x")
        if not 0 < len(name.strip()) <= len(name) <= NAME_LENGTH:
            raise Fault(400, f"A name has from 1 to {NAME_LENGTH} characters.")
        if "description" in values:
            values["description"] = values["description"] or ""
        if len(values.get("description", "")) > TEXT_MAX or len(values.get("email") or "") > NAME_LENGTH:
            raise Fault(400, "A value is too long.")
        return values

    def _stored(self, work: Callable[[Session], Any]) -> Any:
        try:
            return self.state.database.run(work)
        except IntegrityError:
            raise Fault(409, f"There is a {self.kind} of this name already, or what it names is not there.") from None

    def check_list(self, call: Call) -> None:
        need_admin(call)

    def check_show(self, call: Call) -> None:
        need_admin(call)

    def filtered(self, call: Call, records: Iterable[Any]) -> Iterable[Any]:
        """What the database did not choose."""
        return records

    def made(self, session: Session, values: dict[str, Any]) -> Any:
        record = self.record(**values)
        session.add(record)
        session.flush()
        return record

    def changing(self, session: Session, record: Any, values: dict[str, Any]) -> None:
        """Refuses a change, or does what goes with it."""

    def deleting(self, session: Session, record: Any) -> None:
        """Refuses, or does what goes with it."""

    def need_domain(self, session: Session, values: dict[str, Any]) -> None:
        values["domain_id"] = values.get("domain_id") or DEFAULT_DOMAIN
        if session.get(DomainRecord, values["domain_id"]) is None:
            raise missing("domain", values["domain_id"])

    def keep_domain(self, record: Any, values: dict[str, Any]) -> None:
        if values.pop("domain_id", record.domain_id) != record.domain_id:
            raise Fault(400, f"A {self.kind} stays in its domain.")


class Domains(Resource):
    def __init__(self, state: IdentityState) -> None:
        super().__init__(state, DOMAIN, DomainRecord, DomainValues, documents.domain_document)

    def check_show(self, call: Call) -> None:
        mine = call.caller.user_domain_id, call.caller.project_domain_id, call.caller.domain_id
        if call.arguments["id"] not in mine:
            need_admin(call)

    def changing(self, session: Session, record: DomainRecord, values: dict[str, Any]) -> None:
        if values.get("enabled") is False:
            if record.id == DEFAULT_DOMAIN:
                raise Fault(403, "The default domain stays enabled.")
            self.state.revocations.revoke(session, of_target(DOMAIN, record.id), self.state.now())

    def deleting(self, session: Session, record: DomainRecord) -> None:
        if record.enabled:
            raise Fault(403, "A domain is disabled before it is deleted.")
        projects = session.scalars(select(ProjectRecord.id).where(ProjectRecord.domain_id == record.id)).all()
        session.execute(
            delete(RoleGrant).where(or_(RoleGrant.target_id.in_(projects), RoleGrant.target_id == record.id))
        )
        session.execute(delete(ProjectRecord).where(ProjectRecord.domain_id == record.id))


class Projects(Resource):
    def __init__(self, state: IdentityState) -> None:
        super().__init__(state, PROJECT, ProjectRecord, ProjectValues, documents.project_document)

    def check_show(self, call: Call) -> None:
        if call.arguments["id"] != call.caller.project_id:
            need_admin(call)

    def filtered(self, call: Call, records: Iterable[ProjectRecord]) -> Iterable[ProjectRecord]:
        wanted = set(filter(None, call.request.GET.get("tags", "").split(",")))
        return [record for record in records if wanted.issubset(record.tags)]

    def made(self, session: Session, values: dict[str, Any]) -> ProjectRecord:
        if values.pop("is_domain", False):
            raise Fault(400, "A project is no domain here: make a domain instead.")
        self.need_domain(session, values)
        _check_tags(values)
        if values.get("parent_id") == values["domain_id"]:
            values["parent_id"] = None
        parent_id = values.get("parent_id")
        parent = None if parent_id is None else session.get(ProjectRecord, parent_id)
        if parent_id is not None and (parent is None or parent.domain_id != values["domain_id"]):
            raise missing("parent project", parent_id)
        project: ProjectRecord = super().made(session, values)
        return project

    def changing(self, session: Session, record: ProjectRecord, values: dict[str, Any]) -> None:
        self.keep_domain(record, values)
        _check_tags(values)
        if values.pop("is_domain", False) or (
            values.pop("parent_id", record.parent_id) not in (record.parent_id, record.domain_id)
        ):
            raise Fault(403, "A project stays below its parent.")
        if values.get("enabled") is False:
            self.state.revocations.revoke(session, of_target(PROJECT, record.id), self.state.now())

    def deleting(self, session: Session, record: ProjectRecord) -> None:
        if session.scalar(select(ProjectRecord.id).where(ProjectRecord.parent_id == record.id).limit(1)) is not None:
            raise Fault(403, "A project is deleted after those below it.")
        self.state.revocations.revoke(session, of_target(PROJECT, record.id), self.state.now())
        session.execute(delete(RoleGrant).where(RoleGrant.target_kind == PROJECT, RoleGrant.target_id == record.id))


class Users(Resource):
    def __init__(self, state: IdentityState) -> None:
        super().__init__(state, "user", UserRecord, UserValues, documents.user_document)

    def check_show(self, call: Call) -> None:
        need_user(call, call.arguments["id"])

    def made(self, session: Session, values: dict[str, Any]) -> UserRecord:
        self.need_domain(session, values)
        user: UserRecord = super().made(session, values)
        return user

    def changing(self, session: Session, record: UserRecord, values: dict[str, Any]) -> None:
        self.keep_domain(record, values)
        if values.get("enabled") is False or "password" in values:
            self.state.revocations.revoke(session, of_user(record.id), self.state.now())

    def deleting(self, session: Session, record: UserRecord) -> None:
        self.state.revocations.revoke(session, of_user(record.id), self.state.now())

    def _values(self, call: Call) -> dict[str, Any]:
        values = super()._values(call)
        if values.get("password") is not None:
            values["password"] = self.state.passwords.hashed(values["password"])
        return values


class Roles(Resource):
    def __init__(self, state: IdentityState) -> None:
        super().__init__(state, "role", RoleRecord, RoleValues, documents.role_document, ("name",))

    def check_list(self, call: Call) -> None:
        """Everybody may know which roles there are: application credentials name them."""

    check_show = check_list

    def made(self, session: Session, values: dict[str, Any]) -> RoleRecord:
        self._global(values)
        role: RoleRecord = super().made(session, values)
        return role

    def changing(self, session: Session, record: RoleRecord, values: dict[str, Any]) -> None:
        self._global(values)
        if record.name in BUILT_IN_ROLES and values.get("name", record.name) != record.name:
            raise Fault(403, f"The role {record.name} keeps its name.")

    def deleting(self, session: Session, record: RoleRecord) -> None:
        if record.name in BUILT_IN_ROLES:
            raise Fault(403, f"The role {record.name} cannot be deleted.")
        forget_grants(session, self.state, RoleGrant.role_id == record.id)

    @staticmethod
    def _global(values: dict[str, Any]) -> None:
        if values.pop("domain_id", None) is not None:
            raise Fault(400, "Roles are of no domain here.")


def _check_tags(values: dict[str, Any]) -> None:
    tags = values.get("tags", [])
    if len(tags) > TAGS_MAX or not all(0 < len(tag) <= NAME_LENGTH and not set(tag) & set(",/") for tag in tags):
        raise Fault(400, f"A project has at most {TAGS_MAX} tags, without commas and slashes.")
    if "tags" in values:
        values["tags"] = list(dict.fromkeys(tags))
