"""What users ask about themselves: their tokens, projects, domains, catalog and password."""

from __future__ import annotations

from typing import Any, Final

import webob
from msgspec import Struct
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, WebRoute, empty_answer, json_answer
from objstore.identity.authentication import Logins, refuse
from objstore.identity.documents import domain_document, project_document, token_document
from objstore.identity.records import DOMAIN, PROJECT, SYSTEM, DomainRecord, ProjectRecord, RoleGrant, UserRecord
from objstore.identity.resources import listed, with_link
from objstore.identity.revocations import EXPIRED_WINDOW_SECONDS, of_token, of_user
from objstore.identity.standing import TokenStanding, standing_of
from objstore.identity.state import IdentityState, missing, need_admin_or_service, need_user
from objstore.identity.tokens import MICROSECONDS
from objstore.login_throttle import LoginClient

RULES_HEADER: Final = "OpenStack-Identity-Access-Rules"


class PasswordChange(Struct):
    password: str
    original_password: str


class OwnAccount:
    def __init__(self, state: IdentityState) -> None:
        self._state = state
        self._logins = Logins(state)

    def routes(self) -> list[WebRoute]:
        return [
            WebRoute("POST", "/v3/auth/tokens", self._logins.create, public=True),
            WebRoute("GET", "/v3/auth/tokens", self.token),
            WebRoute("DELETE", "/v3/auth/tokens", self.revoke),
            WebRoute("GET", "/v3/auth/catalog", self.catalog),
            WebRoute("GET", "/v3/auth/projects", lambda call: self.projects(call, call.caller.user_id)),
            WebRoute("GET", "/v3/auth/domains", self.domains),
            WebRoute("GET", "/v3/auth/system", self.systems),
            WebRoute("GET", "/v3/users/{user}/projects", lambda call: self.projects(call, call.arguments["user"])),
            WebRoute("POST", "/v3/users/{user}/password", self.change_password, public=True),
        ]

    def token(self, call: Call) -> webob.Response:
        """GET and HEAD /v3/auth/tokens: the token that X-Subject-Token shows."""
        with self._state.database.reading() as session:
            standing = self._subject(session, call, _is_true(call, "allow_expired"))
            credential = standing.application_credential
            if (
                credential is not None
                and credential.access_rules is not None
                and not call.request.headers.get(RULES_HEADER)
            ):
                raise missing("token", "its access rules would not be understood")
            document = token_document(standing, None if "nocatalog" in call.request.GET else self._state.catalog)
        subject = call.request.headers["X-Subject-Token"]
        return json_answer(200, document, {"X-Subject-Token": subject, "Vary": "X-Auth-Token"})

    def revoke(self, call: Call) -> webob.Response:
        def work(session: Session) -> None:
            audit_id = self._subject(session, call).claims.audit_ids[0]
            self._state.revocations.revoke(session, of_token(audit_id), self._state.now())

        self._state.database.run(work)
        return empty_answer()

    def _subject(self, session: Session, call: Call, allow_expired: bool = False) -> TokenStanding:
        """Whose token is asked about. Raises Fault 404, and 403 to who has neither the token nor the right to ask."""
        text = call.request.headers.get("X-Subject-Token")
        if not text:
            raise Fault(400, "The header X-Subject-Token is missing.")
        claims = self._state.tokens.read(text)
        if text != call.caller.token and (claims is None or claims.user_id != call.caller.user_id):
            need_admin_or_service(call)
        now = self._state.now()
        may_expire = allow_expired and (call.caller.is_service or call.caller.is_admin)
        window = EXPIRED_WINDOW_SECONDS * MICROSECONDS if may_expire else 0
        standing = None
        if claims is not None and claims.expires + window > now:
            standing = standing_of(session, claims, min(now, claims.expires - 1))
        if standing is None:
            raise missing("token", "it is unknown, or does not hold")
        return standing

    def catalog(self, call: Call) -> webob.Response:
        if call.caller.project_id is None and not call.caller.roles:
            raise Fault(403, "A token without a scope has no catalog.")
        links = {"self": f"{self._state.url}/v3/auth/catalog"}
        return json_answer(200, {"catalog": self._state.catalog.document(call.caller.project_id), "links": links})

    def projects(self, call: Call, user_id: str) -> webob.Response:
        """The projects that a user has a role in."""
        need_user(call, user_id)
        with self._state.database.reading() as session:
            if session.get(UserRecord, user_id) is None:
                raise missing("user", user_id)
            found = session.scalars(
                select(ProjectRecord)
                .join(DomainRecord, DomainRecord.id == ProjectRecord.domain_id)
                .where(ProjectRecord.id.in_(_targets(user_id, PROJECT)), ProjectRecord.enabled, DomainRecord.enabled)
                .order_by(ProjectRecord.name)
            ).all()
        rows = [with_link(project_document(each), self._state.url, "projects") for each in found]
        return listed(call, self._state.url, "projects", rows)

    def domains(self, call: Call) -> webob.Response:
        with self._state.database.reading() as session:
            mine = DomainRecord.id.in_(_targets(call.caller.user_id, DOMAIN))
            found = session.scalars(select(DomainRecord).where(mine, DomainRecord.enabled)).all()
        rows = [with_link(domain_document(each), self._state.url, "domains") for each in found]
        return listed(call, self._state.url, "domains", rows)

    def systems(self, call: Call) -> webob.Response:
        with self._state.database.reading() as session:
            has = session.scalar(_targets(call.caller.user_id, SYSTEM).limit(1)) is not None
        return listed(call, self._state.url, "system", [{"all": True}] if has else [])

    def change_password(self, call: Call) -> webob.Response:
        """POST /v3/users/USER/password: the old one proves who asks, and guessing it is as slow as at a login."""
        body = call.json_as(dict[str, PasswordChange])
        change = body.get("user")
        if change is None:
            raise Fault(400, "The body has no user.")
        user_id = call.arguments["user"]
        with self._state.database.reading() as session:
            user = session.get(UserRecord, user_id)
            stored = None if user is None or not user.enabled else user.password
        self._logins.check_secret(
            LoginClient(call.request.remote_addr or "", user_id), change.original_password, stored
        )
        hashed = self._state.passwords.hashed(change.password)

        def store(session: Session) -> None:
            record = session.get(UserRecord, user_id) or refuse()
            if record.password != stored:
                refuse()  # it was changed meanwhile
            record.password = hashed
            self._state.revocations.revoke(session, of_user(user_id), self._state.now())

        self._state.database.run(store)
        return empty_answer()


def _targets(user_id: str, kind: str) -> Select[Any]:
    return select(RoleGrant.target_id).where(RoleGrant.user_id == user_id, RoleGrant.target_kind == kind)


def _is_true(call: Call, name: str) -> bool:
    return call.request.GET.get(name, "").lower() in ("1", "true", "yes")
