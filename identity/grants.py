"""Which user has which role where: giving, taking away, and listing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import webob
from sqlalchemy import ColumnElement, and_, delete, select
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.identity.documents import reference, role_document
from objstore.identity.records import (
    ALL,
    DOMAIN,
    PROJECT,
    SYSTEM,
    ApplicationCredentialRecord,
    DomainRecord,
    ProjectRecord,
    RoleGrant,
    RoleRecord,
    UserRecord,
)
from objstore.identity.revocations import of_grant
from objstore.identity.standing import with_implied
from objstore.identity.state import IdentityState, missing, need_admin, need_admin_or_service

ASSIGNMENTS_MAX: Final = 10_000
PATHS: Final = {
    PROJECT: "/v3/projects/{target}/users/{user}/roles",
    DOMAIN: "/v3/domains/{target}/users/{user}/roles",
    SYSTEM: "/v3/system/users/{user}/roles",
}


def forget_grants(session: Session, state: IdentityState, which: ColumnElement[bool]) -> int:
    """Take grants away: tokens that came of them are void, and so are application credentials. Returns how many."""
    found = session.scalars(select(RoleGrant).where(which)).all()
    for grant in found:
        subject = of_grant(grant.user_id, grant.target_kind, grant.target_id)
        state.revocations.revoke(session, subject, state.now())
        if grant.target_kind == PROJECT:
            session.execute(
                delete(ApplicationCredentialRecord).where(
                    ApplicationCredentialRecord.user_id == grant.user_id,
                    ApplicationCredentialRecord.project_id == grant.target_id,
                )
            )
        session.delete(grant)
    return len(found)


class RoleGrants:
    def __init__(self, state: IdentityState) -> None:
        self._state = state

    def routes(self) -> list[WebRoute]:
        found = [WebRoute("GET", "/v3/role_assignments", self.assignments)]
        for kind, path in PATHS.items():
            one = f"{path}/{{role}}"
            found += [
                WebRoute("GET", path, partial(self.list, kind)),
                WebRoute("GET", one, partial(self.check, kind)),
                WebRoute("PUT", one, partial(self.give, kind)),
                WebRoute("DELETE", one, partial(self.take, kind)),
            ]
        return found

    def list(self, kind: str, call: Call) -> webob.Response:
        """GET .../roles: the roles as they were granted."""
        need_admin(call)
        with self._state.database.reading() as session:
            user_id, target_id = self._checked(session, call, kind)
            granted = select(RoleRecord).join(RoleGrant, RoleGrant.role_id == RoleRecord.id)
            where = _where(user_id, kind, target_id)
            roles = [role_document(role) for role in session.scalars(granted.where(*where))]
        return json_answer(200, {"roles": roles, "links": {"self": self._state.url + call.request.path}})

    def check(self, kind: str, call: Call) -> webob.Response:
        """GET and HEAD .../roles/ROLE: 204 or 404."""
        need_admin(call)
        with self._state.database.reading() as session:
            user_id, target_id = self._checked(session, call, kind)
            if session.get(RoleGrant, (user_id, kind, target_id, call.arguments["role"])) is None:
                raise missing("role assignment", call.arguments["role"])
        return empty_answer()

    def give(self, kind: str, call: Call) -> webob.Response:
        need_admin(call)

        def store(session: Session) -> None:
            user_id, target_id = self._checked(session, call, kind)
            role_id = call.arguments["role"]
            if session.get(RoleRecord, role_id) is None:
                raise missing("role", role_id)
            session.merge(RoleGrant(user_id=user_id, target_kind=kind, target_id=target_id, role_id=role_id))

        self._state.database.run(store)
        return empty_answer()

    def take(self, kind: str, call: Call) -> webob.Response:
        need_admin(call)

        def remove(session: Session) -> None:
            where = _where(call.arguments["user"], kind, call.arguments.get("target", ALL))
            if not forget_grants(session, self._state, and_(*where, RoleGrant.role_id == call.arguments["role"])):
                raise missing("role assignment", call.arguments["role"])

        self._state.database.run(remove)
        return empty_answer()

    def _checked(self, session: Session, call: Call, kind: str) -> tuple[str, str]:
        """The user and the target, if both are there. Raises Fault 404."""
        user_id, target_id = call.arguments["user"], call.arguments.get("target", ALL)
        if session.get(UserRecord, user_id) is None:
            raise missing("user", user_id)
        if kind != SYSTEM and session.get(ProjectRecord if kind == PROJECT else DomainRecord, target_id) is None:
            raise missing(kind, target_id)
        return user_id, target_id

    def assignments(self, call: Call) -> webob.Response:
        """GET /v3/role_assignments: `effective` adds implied roles, `include_names` names beside ids."""
        query = call.request.GET
        user_id = query.get("user.id")
        if user_id != call.caller.user_id:
            need_admin_or_service(call)
        wanted = {
            PROJECT: query.get("scope.project.id"),
            DOMAIN: query.get("scope.domain.id"),
            SYSTEM: ALL if "scope.system" in query else None,
        }
        targets = [(kind, target) for kind, target in wanted.items() if target is not None]
        if len(targets) > 1:
            raise Fault(400, "Role assignments are of one project, one domain or the system.")
        chosen = select(RoleGrant, RoleRecord).join(RoleRecord, RoleGrant.role_id == RoleRecord.id)
        if user_id is not None:
            chosen = chosen.where(RoleGrant.user_id == user_id)
        for kind, target in targets:
            chosen = chosen.where(RoleGrant.target_kind == kind, RoleGrant.target_id == target)
        role_id = query.get("role.id")
        with self._state.database.reading() as session:
            rows: list[dict[str, Any]] = []
            effective = _is_set(query, "effective")
            for grant, role in session.execute(chosen.limit(ASSIGNMENTS_MAX)).all():
                roles: Iterable[RoleRecord] = with_implied(session, [role]) if effective else [role]
                rows += [
                    self._row(session, grant, each, _is_set(query, "include_names"))
                    for each in roles
                    if role_id in (None, each.id)
                ]
        links = {"self": f"{self._state.url}/v3/role_assignments", "previous": None, "next": None}
        unique = {str(sorted(row["scope"].items())) + row["user"]["id"] + row["role"]["id"]: row for row in rows}
        return json_answer(200, {"role_assignments": list(unique.values()), "links": links})

    def _row(self, session: Session, grant: RoleGrant, role: RoleRecord, names: bool) -> dict[str, Any]:
        kind, target_id = grant.target_kind, grant.target_id
        scope: dict[str, Any] = {SYSTEM: {ALL: True}} if kind == SYSTEM else {kind: {"id": target_id}}
        row: dict[str, Any] = {"role": {"id": role.id}, "user": {"id": grant.user_id}, "scope": scope}
        if names:
            row["role"]["name"] = role.name
            row["user"] = _named(session, session.get(UserRecord, grant.user_id)) or row["user"]
            if kind == PROJECT:
                scope[kind] = _named(session, session.get(ProjectRecord, target_id)) or scope[kind]
            elif kind == DOMAIN and (domain := session.get(DomainRecord, target_id)):
                scope[kind] = {"id": domain.id, "name": domain.name}
        path = PATHS[kind].format(target=target_id, user=grant.user_id)
        return row | {"links": {"assignment": f"{self._state.url}{path}/{role.id}"}}


def _named(session: Session, record: UserRecord | ProjectRecord | None) -> dict[str, Any] | None:
    domain = None if record is None else session.get(DomainRecord, record.domain_id)
    return None if record is None or domain is None else reference(record, domain)


def _where(user_id: str, kind: str, target_id: str) -> tuple[ColumnElement[bool], ...]:
    return RoleGrant.user_id == user_id, RoleGrant.target_kind == kind, RoleGrant.target_id == target_id


def _is_set(query: Any, name: str) -> bool:
    """Whether a parameter without a value, or with one that is not false, was given."""
    return name in query and query[name].lower() not in ("false", "0")
