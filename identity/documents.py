"""Tokens, users and projects as the API shows them."""

from __future__ import annotations

from typing import Any

from objstore.identity.catalog import Catalog
from objstore.identity.records import ALL, SYSTEM, DomainRecord, ProjectRecord, RoleRecord, UserRecord
from objstore.identity.standing import TokenStanding, iso


def token_document(standing: TokenStanding, catalog: Catalog | None) -> dict[str, Any]:
    """{"token": ...}; without the catalog if none is given."""
    claims, target = standing.claims, standing.target
    user = reference(standing.user, standing.user_domain) | {"password_expires_at": None}
    token: dict[str, Any] = {
        "methods": claims.methods.names,
        "user": user,
        "audit_ids": list(claims.audit_ids),
        "issued_at": iso(claims.issued),
        "expires_at": iso(claims.expires),
    }
    if claims.scope.kind:
        token["roles"] = [{"id": role.id, "name": role.name} for role in standing.roles]
        if catalog is not None:
            token["catalog"] = catalog.document(None if target.project is None else target.project.id)
    if target.project is not None:
        assert target.domain is not None
        token |= {"project": reference(target.project, target.domain), "is_domain": False}
    elif target.domain is not None:
        token["domain"] = {"id": target.domain.id, "name": target.domain.name}
    elif claims.scope.kind == SYSTEM:
        token["system"] = {ALL: True}
    credential = standing.application_credential
    if credential is not None:
        token["application_credential"] = {
            "id": credential.id,
            "name": credential.name,
            "restricted": not credential.unrestricted,
        }
        if credential.access_rules is not None:
            token["application_credential"]["access_rules"] = credential.access_rules
    return {"token": token}


def reference(record: UserRecord | ProjectRecord, domain: DomainRecord) -> dict[str, Any]:
    """How a document names a user or project."""
    return {"id": record.id, "name": record.name, "domain": {"id": domain.id, "name": domain.name}}


def domain_document(record: DomainRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "enabled": record.enabled,
        "description": record.description,
        "tags": [],
        "options": {},
    }


def project_document(record: ProjectRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "domain_id": record.domain_id,
        "parent_id": record.parent_id or record.domain_id,
        "enabled": record.enabled,
        "description": record.description,
        "is_domain": False,
        "tags": record.tags,
        "options": {},
    }


def user_document(record: UserRecord) -> dict[str, Any]:
    document = {
        "id": record.id,
        "name": record.name,
        "domain_id": record.domain_id,
        "enabled": record.enabled,
        "description": record.description,
        "password_expires_at": None,
        "options": {},
    }
    if record.email is not None:
        document["email"] = record.email
    if record.default_project_id is not None:
        document["default_project_id"] = record.default_project_id
    return document


def role_document(record: RoleRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "name": record.name,
        "domain_id": None,
        "description": record.description,
        "options": {},
    }
