"""Application credentials: a name and a secret with which a program has some of a user's roles in one project."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import webob
from msgspec import Struct
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.identity.records import (
    NAME_LENGTH,
    PROJECT,
    ApplicationCredentialRecord,
    RoleRecord,
    new_id,
    new_secret,
)
from objstore.identity.resources import listed, with_link
from objstore.identity.standing import EPOCH, iso, roles_in
from objstore.identity.state import IdentityState, missing, need_user
from objstore.identity.tokens import MICROSECONDS, TokenScope

PER_USER_MAX: Final = 100
RULES_MAX: Final = 100
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})


class RoleName(Struct):
    id: str | None = None
    name: str | None = None


class NewAccessRule(Struct):
    path: str
    method: str
    service: str


class NewApplicationCredential(Struct):
    name: str
    secret: str | None = None
    description: str | None = None
    expires_at: str | None = None
    roles: list[RoleName] | None = None
    unrestricted: bool = False
    access_rules: list[NewAccessRule] | None = None


def refuse_restricted(session: Session, state: IdentityState, call: Call) -> str | None:
    """The application credential that the caller came with, if any. Raises Fault 403 for a restricted one.

    It could otherwise make itself something that lasts longer, or is allowed more.
    """
    claims = state.claims_of(call.caller.token)
    found = claims and claims.application_credential_id
    if not found:
        return None
    credential = session.get(ApplicationCredentialRecord, found)
    if credential is None or not credential.unrestricted:
        raise Fault(403, "A restricted application credential cannot manage credentials.")
    return found


class ApplicationCredentials:
    def __init__(self, state: IdentityState) -> None:
        self._state = state

    def routes(self) -> list[WebRoute]:
        path = "/v3/users/{user}/application_credentials"
        return [
            WebRoute("GET", path, self.list),
            WebRoute("POST", path, self.create),
            WebRoute("GET", f"{path}/{{id}}", self.show),
            WebRoute("DELETE", f"{path}/{{id}}", self.delete),
        ]

    def create(self, call: Call) -> webob.Response:
        user_id = call.arguments["user"]
        if call.caller.user_id != user_id or call.caller.project_id is None:
            raise Fault(403, "Users make application credentials for themselves, in the project of their token.")
        given = call.json_as(dict[str, NewApplicationCredential]).get("application_credential")
        if given is None:
            raise Fault(400, "The body has no application_credential.")
        rules = _checked_rules(given.access_rules)
        expires = _microseconds(given.expires_at, self._state.now())
        secret = given.secret or new_secret()
        hashed = self._state.passwords.hashed(secret)
        if not 0 < len(given.name) <= NAME_LENGTH:
            raise Fault(400, f"A name has from 1 to {NAME_LENGTH} characters.")
        scope = TokenScope(PROJECT, call.caller.project_id)

        def store(session: Session) -> dict[str, Any]:
            refuse_restricted(session, self._state, call)
            has = select(func.count()).select_from(ApplicationCredentialRecord)
            if (session.scalar(has.where(ApplicationCredentialRecord.user_id == user_id)) or 0) >= PER_USER_MAX:
                raise Fault(403, f"A user has at most {PER_USER_MAX} application credentials.")
            own = [role for role in roles_in(session, user_id, scope) if role.name in call.caller.roles]
            record = ApplicationCredentialRecord(
                id=new_id(),
                name=given.name,
                secret=hashed,
                user_id=user_id,
                project_id=scope.id,
                description=given.description or "",
                expires=expires,
                unrestricted=given.unrestricted,
                role_ids=[role.id for role in _chosen(own, given.roles)],
                access_rules=rules,
            )
            session.add(record)
            session.flush()
            return self._document(session, record)

        try:
            document = self._state.database.run(store)
        except IntegrityError:
            raise Fault(409, "The user has an application credential of this name.") from None
        return json_answer(201, {"application_credential": document | {"secret": secret}})

    def list(self, call: Call) -> webob.Response:
        need_user(call, call.arguments["user"])
        mine = select(ApplicationCredentialRecord).where(ApplicationCredentialRecord.user_id == call.arguments["user"])
        if (name := call.request.GET.get("name")) is not None:
            mine = mine.where(ApplicationCredentialRecord.name == name)
        with self._state.database.reading() as session:
            rows = [self._document(session, each) for each in session.scalars(mine)]
        return listed(call, self._state.url, "application_credentials", rows)

    def show(self, call: Call) -> webob.Response:
        need_user(call, call.arguments["user"])
        with self._state.database.reading() as session:
            return json_answer(200, {"application_credential": self._document(session, self._found(session, call))})

    def delete(self, call: Call) -> webob.Response:
        """Its tokens end with it."""
        need_user(call, call.arguments["user"])

        def remove(session: Session) -> None:
            refuse_restricted(session, self._state, call)
            session.delete(self._found(session, call))

        self._state.database.run(remove)
        return empty_answer()

    def _found(self, session: Session, call: Call) -> ApplicationCredentialRecord:
        record = session.get(ApplicationCredentialRecord, call.arguments["id"])
        if record is None or record.user_id != call.arguments["user"]:
            raise missing("application credential", call.arguments["id"])
        return record

    def _document(self, session: Session, record: ApplicationCredentialRecord) -> dict[str, Any]:
        roles = session.scalars(select(RoleRecord).where(RoleRecord.id.in_(record.role_ids)))
        document: dict[str, Any] = {
            "id": record.id,
            "name": record.name,
            "description": record.description,
            "user_id": record.user_id,
            "project_id": record.project_id,
            "roles": [{"id": role.id, "name": role.name, "domain_id": None} for role in roles],
            "unrestricted": record.unrestricted,
            "expires_at": None if record.expires is None else iso(record.expires)[:-1],
            "system": None,
        }
        if record.access_rules is not None:
            document["access_rules"] = record.access_rules
        return with_link(document, self._state.url, f"users/{record.user_id}/application_credentials")


def _chosen(own: list[RoleRecord], asked: list[RoleName] | None) -> list[RoleRecord]:
    """Roles of the caller's, all by default. Raises Fault 400 for one that the caller does not have."""
    if not asked:
        return own
    chosen = [role for role in own if any(name.id == role.id or name.name == role.name for name in asked)]
    if len(chosen) < len({name.id or name.name for name in asked}):
        raise Fault(400, "An application credential has no roles that its user does not have in this project.")
    return chosen


def _checked_rules(rules: list[NewAccessRule] | None) -> list[dict[str, Any]] | None:
    if rules is None:
        return None
    for rule in rules:
        if rule.method not in METHODS or not rule.path.startswith("/") or len(rule.path) > NAME_LENGTH:
            raise Fault(400, "An access rule has a method, a path that begins with a slash, and a service.")
    if len(rules) > RULES_MAX:
        raise Fault(400, f"There are at most {RULES_MAX} access rules.")
    return [{"id": new_id(), "service": rule.service, "method": rule.method, "path": rule.path} for rule in rules]


def _microseconds(text: str | None, now: int) -> int | None:
    """Raises Fault 400 for what is no moment, or is over."""
    if text is None:
        return None
    try:
        given = datetime.fromisoformat(text)
        microseconds = int(
            ((given if given.tzinfo else given.replace(tzinfo=UTC)) - EPOCH).total_seconds() * MICROSECONDS
        )
    except (ValueError, OverflowError):
        raise Fault(400, "expires_at is a moment as in 2030-01-31T12:00:00Z.") from None
    if microseconds <= now:
        raise Fault(400, "expires_at is in the past.")
    return microseconds
