"""What the bearer of a token is now: user, scope and roles, as the records say at this moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from objstore.cloud.callers import CloudCaller, access_rules_of
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
from objstore.identity.revocations import Revocations, of_grant, of_target, of_token, of_user
from objstore.identity.tokens import TokenClaims, TokenScope

# Who has the first has the others as well.
IMPLIED: Final = {"admin": ("member", "reader"), "member": ("reader",)}
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ScopeTarget:
    """What a scope is about; none of both is the system, or nothing."""

    project: ProjectRecord | None = None
    domain: DomainRecord | None = None  # of the project, or the scope itself


@dataclass(frozen=True)
class TokenStanding:
    """A user with a scope, both enabled, and the roles the user has there. Roles that others imply are among them."""

    claims: TokenClaims
    user: UserRecord
    user_domain: DomainRecord
    target: ScopeTarget
    roles: tuple[RoleRecord, ...]
    application_credential: ApplicationCredentialRecord | None = None

    def caller(self, token: str) -> CloudCaller:
        project, domain = self.target.project, self.target.domain
        credential = self.application_credential
        rules = None if credential is None else credential.access_rules
        return CloudCaller(
            self.user.id,
            self.user.name,
            self.user.domain_id,
            None if project is None else project.id,
            None if project is None else project.name,
            None if project is None else project.domain_id,
            frozenset(role.name for role in self.roles),
            token,
            moment(self.claims.expires),
            self.claims.audit_ids,
            domain.id if domain is not None and project is None else None,
            None if rules is None else access_rules_of(rules),
        )


def standing_of(session: Session, claims: TokenClaims, now: int) -> TokenStanding | None:
    """None if a token that has not expired no longer holds, or if nobody can be given one that says this."""
    user = session.get(UserRecord, claims.user_id)
    user_domain = None if user is None else session.get(DomainRecord, user.domain_id)
    if user is None or user_domain is None or not user.enabled or not user_domain.enabled:
        return None
    target = target_of(session, claims.scope)
    if target is None:
        return None
    roles = roles_in(session, user.id, claims.scope)
    credential = None
    if claims.application_credential_id is not None:
        credential = session.get(ApplicationCredentialRecord, claims.application_credential_id)
        if credential is None or not _holds(credential, claims, roles, now):
            return None
        roles = tuple(role for role in roles if role.id in credential.role_ids)
    if claims.scope.kind and not roles:
        return None
    if Revocations.is_revoked(session, claims, _subjects(claims, user, target)):
        return None
    return TokenStanding(claims, user, user_domain, target, roles, credential)


def _holds(credential: ApplicationCredentialRecord, claims: TokenClaims, roles: Iterable[RoleRecord], now: int) -> bool:
    return (
        credential.user_id == claims.user_id
        and claims.scope == TokenScope(PROJECT, credential.project_id)
        and (credential.expires is None or credential.expires > now)
        and {role.id for role in roles}.issuperset(credential.role_ids)
    )


def _subjects(claims: TokenClaims, user: UserRecord, target: ScopeTarget) -> list[str]:
    """All by which a token may have been revoked."""
    kind, target_id = claims.scope.kind, claims.scope.id
    found = [of_token(claims.audit_ids[0]), of_user(user.id), of_target(DOMAIN, user.domain_id)]
    if kind:
        found += [of_target(kind, target_id), of_grant(user.id, kind, target_id)]
    if target.domain is not None:
        found.append(of_target(DOMAIN, target.domain.id))
    return found


def target_of(session: Session, scope: TokenScope) -> ScopeTarget | None:
    """What a scope is about; None if it is not there, or disabled."""
    if scope.kind == PROJECT:
        project = session.get(ProjectRecord, scope.id)
        domain = None if project is None else session.get(DomainRecord, project.domain_id)
        usable = project is not None and project.enabled and domain is not None and domain.enabled
        return ScopeTarget(project, domain) if usable else None
    if scope.kind == DOMAIN:
        domain = session.get(DomainRecord, scope.id)
        return ScopeTarget(None, domain) if domain is not None and domain.enabled else None
    return ScopeTarget()


def roles_in(session: Session, user_id: str, scope: TokenScope) -> tuple[RoleRecord, ...]:
    """The roles of a user there, by their names."""
    granted = session.scalars(
        select(RoleRecord)
        .join(RoleGrant, RoleGrant.role_id == RoleRecord.id)
        .where(RoleGrant.user_id == user_id, RoleGrant.target_kind == scope.kind, RoleGrant.target_id == scope.id)
    ).all()
    return with_implied(session, granted)


def with_implied(session: Session, granted: Iterable[RoleRecord]) -> tuple[RoleRecord, ...]:
    """These roles and those they imply, by their names."""
    roles = {role.name: role for role in granted}
    missing = {name for role in roles for name in IMPLIED.get(role, ())} - set(roles)
    if missing:
        roles |= {role.name: role for role in session.scalars(select(RoleRecord).where(RoleRecord.name.in_(missing)))}
    return tuple(roles[name] for name in sorted(roles))


def moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def iso(microseconds: int) -> str:
    """2026-01-31T12:00:00.000000Z, as the API writes moments."""
    return moment(microseconds).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def system_scope() -> TokenScope:
    return TokenScope(SYSTEM, ALL)
