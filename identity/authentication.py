"""POST /v3/auth/tokens: who asks proves who they are, by password, token or application credential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn

import webob
from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.orm import Session

from objstore.cloud.web import Call, Fault, json_answer
from objstore.identity.documents import token_document
from objstore.identity.records import (
    DOMAIN,
    PROJECT,
    ApplicationCredentialRecord,
    DomainRecord,
    ProjectRecord,
    UserRecord,
)
from objstore.identity.standing import standing_of, system_scope
from objstore.identity.state import IdentityState
from objstore.identity.tokens import MICROSECONDS, Methods, TokenClaims, TokenScope, new_audit_id
from objstore.login_throttle import LoginClient
from objstore.logs import get_logger

LOG = get_logger("identity")


class Named(Struct):
    """A domain, project or user by its id, or by its name and its domain."""

    id: str | None = None
    name: str | None = None
    domain: Named | None = None


class PasswordUser(Named):
    password: str = ""


class PasswordMethod(Struct):
    user: PasswordUser


class TokenMethod(Struct):
    id: str


class ApplicationCredentialMethod(Struct):
    secret: str
    id: str | None = None
    name: str | None = None
    user: Named | None = None


class Proofs(Struct):
    methods: list[str]
    password: PasswordMethod | None = None
    token: TokenMethod | None = None
    application_credential: ApplicationCredentialMethod | None = None


class AskedScope(Struct):
    project: Named | None = None
    domain: Named | None = None
    system: dict[str, Any] | None = None
    unscoped: dict[str, Any] | None = None


class Auth(Struct):
    identity: Proofs
    scope: AskedScope | str | None = None


class AuthBody(Struct):
    auth: Auth


@dataclass(frozen=True)
class Proof:
    """Who somebody is, and what binds the token that they get: an end, a scope, the token it comes from."""

    user_id: str
    methods: Methods
    expires: int | None = None
    parent_audit_id: str | None = None
    scope: TokenScope | None = None
    application_credential_id: str | None = None


def refuse() -> NoReturn:
    """The one answer to all who have not proved who they are, whatever is wrong: nothing can be learned from it."""
    raise Fault(401, "The request you have made requires authentication.")


class Logins:
    """Issues tokens."""

    def __init__(self, state: IdentityState) -> None:
        self._state = state

    def create(self, call: Call) -> webob.Response:
        """POST /v3/auth/tokens."""
        auth = call.json_as(AuthBody).auth
        proof = self._proof(auth.identity, call.request.remote_addr or "")
        with self._state.database.reading() as session:
            return self.answer(session, proof, auth.scope, "nocatalog" not in call.request.GET)

    def answer(
        self, session: Session, proof: Proof, asked: AskedScope | str | None, catalog: bool = True
    ) -> webob.Response:
        """The token for who has proved something. Raises Fault 401, and 403 for a scope that this proof cannot have."""
        scope = self._scope(session, proof, asked)
        now = self._state.now()
        audit_ids = (new_audit_id(), *([proof.parent_audit_id] if proof.parent_audit_id else []))
        expires = now + int(self._state.life_seconds * MICROSECONDS)
        expires = min(expires, proof.expires or expires)
        claims = TokenClaims(
            proof.user_id, proof.methods, scope, now, expires, audit_ids, proof.application_credential_id
        )
        standing = standing_of(session, claims, now)
        if standing is None:
            refuse()
        document = token_document(standing, self._state.catalog if catalog else None)
        headers = {"X-Subject-Token": self._state.tokens.issue(claims), "Vary": "X-Auth-Token"}
        return json_answer(201, document, headers)

    def _proof(self, proofs: Proofs, address: str) -> Proof:
        found: list[Proof] = []
        for method in dict.fromkeys(proofs.methods):
            if method == "password" and proofs.password is not None:
                found.append(self._by_password(proofs.password.user, address))
            elif method == "token" and proofs.token is not None:
                found.append(self._by_token(proofs.token.id))
            elif method == "application_credential" and proofs.application_credential is not None:
                found.append(self._by_application_credential(proofs.application_credential, address))
            else:
                refuse()
        if not found or len({proof.user_id for proof in found}) > 1:
            refuse()
        bound = [proof for proof in found if proof.scope is not None or proof.expires is not None]
        if len(bound) > 1:
            raise Fault(400, "These methods cannot be used together.")
        first = (bound or found)[0]
        methods = first.methods
        for proof in found:
            methods |= proof.methods
        return Proof(
            first.user_id,
            methods,
            first.expires,
            first.parent_audit_id,
            first.scope,
            first.application_credential_id,
        )

    def _by_password(self, asked: PasswordUser, address: str) -> Proof:
        with self._state.database.reading() as session:
            user = find_user(session, asked)
            stored = None if user is None else user.password
        name = asked.id or f"{(asked.domain and (asked.domain.id or asked.domain.name)) or ''}:{asked.name}"
        self.check_secret(LoginClient(address, name if user is None else user.id), asked.password, stored)
        assert user is not None
        return Proof(user.id, Methods.PASSWORD)

    def _by_application_credential(self, asked: ApplicationCredentialMethod, address: str) -> Proof:
        with self._state.database.reading() as session:
            if asked.id is not None:
                found = session.get(ApplicationCredentialRecord, asked.id)
            else:
                user = find_user(session, asked.user or Named())
                found = session.scalar(
                    select(ApplicationCredentialRecord).where(
                        ApplicationCredentialRecord.user_id == (user.id if user is not None else ""),
                        ApplicationCredentialRecord.name == (asked.name or ""),
                    )
                )
        stored = None if found is None else found.secret
        name = f"application credential {asked.id or asked.name if found is None else found.id}"
        self.check_secret(LoginClient(address, name), asked.secret, stored)
        assert found is not None
        return Proof(
            found.user_id,
            Methods.APPLICATION_CREDENTIAL,
            found.expires,
            scope=TokenScope(PROJECT, found.project_id),
            application_credential_id=found.id,
        )

    def check_secret(self, client: LoginClient, given: str, stored: str | None) -> None:
        """Raises Fault 401, and 429 for who has failed too often."""
        throttle = self._state.throttle
        wait = throttle.seconds_to_wait(client)
        if wait:
            if throttle.refused(client) == 1:
                LOG.warning("logins are refused for a while", client=client.address)
            raise Fault(429, "Too many failed logins; try again later.", headers={"Retry-After": str(int(wait) + 1)})
        if not self._state.passwords.is_right(given, stored):
            failures = throttle.failed(client)
            LOG.info("a login failed", client=client.address, user=client.user, failures=failures)
            refuse()
        throttle.succeeded(client)

    def _by_token(self, token: str) -> Proof:
        """A token gives others that end when it does. One that is bound to its scope gives none for another."""
        with self._state.database.reading() as session:
            standing = self._state.standing(session, token)
        if standing is None:
            refuse()
        claims = standing.claims
        bound = Methods.EC2 in claims.methods or Methods.APPLICATION_CREDENTIAL in claims.methods
        return Proof(
            claims.user_id,
            claims.methods | Methods.TOKEN,
            claims.expires,
            claims.audit_ids[-1],
            claims.scope if bound else None,
            claims.application_credential_id,
        )

    def _scope(self, session: Session, proof: Proof, asked: AskedScope | str | None) -> TokenScope:
        if proof.scope is not None:
            by_token = Methods.TOKEN in proof.methods
            if asked is not None and not (by_token and _asked_scope(session, asked) == proof.scope):
                raise Fault(403 if by_token else 401, "A token of this kind is for its own project and nothing else.")
            return proof.scope
        if asked is not None:
            return _asked_scope(session, asked) or refuse()
        user = session.get(UserRecord, proof.user_id)
        scope = TokenScope(PROJECT, (user and user.default_project_id) or "")
        claims = TokenClaims(proof.user_id, proof.methods, scope, self._state.now(), 0, ("",))
        return scope if scope.id and standing_of(session, claims, claims.issued) is not None else TokenScope()


def _asked_scope(session: Session, asked: AskedScope | str) -> TokenScope | None:
    """None for what is not there. Raises Fault 400 for what is no scope."""
    if isinstance(asked, str):
        if asked != "unscoped":
            raise Fault(400, 'A scope is a project, a domain, the system or "unscoped".')
        return TokenScope()
    if asked.project is not None:
        project = find_project(session, asked.project)
        return None if project is None else TokenScope(PROJECT, project.id)
    if asked.domain is not None:
        domain = find_domain(session, asked.domain)
        return None if domain is None else TokenScope(DOMAIN, domain.id)
    if asked.system is not None:
        return system_scope() if asked.system.get("all") is True else None
    return TokenScope()


def find_domain(session: Session, asked: Named) -> DomainRecord | None:
    if asked.id is not None:
        return session.get(DomainRecord, asked.id)
    return session.scalar(select(DomainRecord).where(DomainRecord.name == (asked.name or "")))


def find_project(session: Session, asked: Named) -> ProjectRecord | None:
    if asked.id is not None:
        return session.get(ProjectRecord, asked.id)
    domain = find_domain(session, asked.domain or Named())
    if domain is None:
        return None
    named = select(ProjectRecord).where(ProjectRecord.domain_id == domain.id, ProjectRecord.name == (asked.name or ""))
    return session.scalar(named)


def find_user(session: Session, asked: Named) -> UserRecord | None:
    if asked.id is not None:
        return session.get(UserRecord, asked.id)
    domain = find_domain(session, asked.domain or Named())
    if domain is None:
        return None
    return session.scalar(
        select(UserRecord).where(UserRecord.domain_id == domain.id, UserRecord.name == (asked.name or ""))
    )
