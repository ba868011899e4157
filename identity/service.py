"""The identity service: its routes put together, its discovery documents, and what its first start makes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar, Final

import webob
from sqlalchemy import select
from sqlalchemy.orm import Session

from objstore.cloud.database import SqlDatabase
from objstore.cloud.web import Call, Fault, WebApplication, WebRoute, json_answer
from objstore.config.identity import IdentityConfig
from objstore.errors import StoreError
from objstore.identity.application_credentials import ApplicationCredentials
from objstore.identity.catalog import Catalog
from objstore.identity.credentials import Credentials
from objstore.identity.grants import RoleGrants
from objstore.identity.keys import KeyFolder
from objstore.identity.own_account import OwnAccount
from objstore.identity.records import (
    ALL,
    DEFAULT_DOMAIN,
    PROJECT,
    SYSTEM,
    DomainRecord,
    ProjectRecord,
    RoleGrant,
    RoleRecord,
    UserRecord,
)
from objstore.identity.resources import Domains, Projects, Roles, Users, listed, with_link
from objstore.identity.signatures import Signatures
from objstore.identity.state import IdentityState, OwnCallers, missing
from objstore.identity.tokens import TokenIssuing
from objstore.login_throttle import LoginThrottle
from objstore.logs import get_logger
from objstore.runtime import Runtime

MIGRATIONS: Final = Path(__file__).parent / "migrations"
TOKEN_KEYS: Final = "tokens"
CREDENTIAL_KEYS: Final = "credentials"
ROLES: Final = ("admin", "member", "reader", "service")
PROJECTS: Final = ("admin", "service")
VERSION: Final = "v3.14"


@dataclass(eq=False)
class NoAdministrator(StoreError):
    """A first start without a password for the administrator."""

    message: ClassVar[str] = (
        "the first start makes the administrator: give a password as OBJSTORE_FIRST_START_PASSWORD, "
        "or as password in [first_start]"
    )


def key_folders(config: IdentityConfig) -> tuple[KeyFolder, KeyFolder]:
    """The keys of tokens, and those of stored credentials."""
    return KeyFolder(Path(config.keys) / TOKEN_KEYS), KeyFolder(Path(config.keys) / CREDENTIAL_KEYS)


def make_state(config: IdentityConfig, seconds: Callable[[], float] = time.time) -> IdentityState:
    """With the database upgraded and keys made, if there are none. Raises DatabaseUnusable, KeysUnusable."""
    database = SqlDatabase(config.database, MIGRATIONS)
    database.upgrade()
    tokens, blobs = key_folders(config)
    tokens.prepare()
    blobs.prepare()
    throttle = LoginThrottle(Runtime(get_logger("identity")))
    url = config.url.rstrip("/")
    return IdentityState(
        database, TokenIssuing(tokens), blobs, Catalog(config), throttle, url, config.tokens.life, seconds
    )


def prepare(state: IdentityState, config: IdentityConfig) -> bool:
    """Make what every cloud has, unless there are users already; says whether it was made. Raises NoAdministrator."""

    def has_users(session: Session) -> bool:
        return session.scalar(select(UserRecord.id).limit(1)) is not None

    with state.database.reading() as session:
        if has_users(session):
            return False
    if not config.first_start.password:
        raise NoAdministrator
    hashed = state.passwords.hashed(config.first_start.password)

    def make(session: Session) -> bool:
        if has_users(session):
            return False
        session.add(DomainRecord(id=DEFAULT_DOMAIN, name="Default", description="The default domain"))
        session.flush()
        projects = {name: ProjectRecord(name=name, domain_id=DEFAULT_DOMAIN) for name in PROJECTS}
        roles = {name: RoleRecord(name=name) for name in ROLES}
        user = UserRecord(name=config.first_start.user, domain_id=DEFAULT_DOMAIN, password=hashed)
        session.add_all([*projects.values(), *roles.values(), user])
        session.flush()
        for kind, target_id in ((PROJECT, projects["admin"].id), (SYSTEM, ALL)):
            session.add(RoleGrant(user_id=user.id, target_kind=kind, target_id=target_id, role_id=roles["admin"].id))
        return True

    return state.database.run(make)


def make_application(state: IdentityState) -> WebApplication:
    """The service as WSGI sees it."""
    resources = (Domains(state), Projects(state), Users(state), Roles(state))
    parts = (*resources, OwnAccount(state), RoleGrants(state), ApplicationCredentials(state), Credentials(state))
    routes = [route for part in (*parts, Signatures(state)) for route in part.routes()]
    return WebApplication(
        "identity", [*_discovery(state.url), *_catalog(state), *routes], OwnCallers(state), render_fault
    )


def render_fault(fault: Fault, _call: Call) -> webob.Response:
    """{"error": {"code", "message", "title"}}, as Keystone answers."""
    error = {"code": fault.status, "message": fault.text, "title": HTTPStatus(fault.status).phrase}
    return json_answer(fault.status, {"error": error}, fault.headers)


def _discovery(url: str) -> list[WebRoute]:
    version = {
        "id": VERSION,
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{url}/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }

    def versions(_call: Call) -> webob.Response:
        return json_answer(300, {"versions": {"values": [version]}}, {"Location": f"{url}/v3/"})

    return [
        WebRoute("GET", "/", versions, public=True),
        WebRoute("GET", "/v3", lambda _call: json_answer(200, {"version": version}), public=True),
    ]


def _catalog(state: IdentityState) -> list[WebRoute]:
    """Regions, services and endpoints, which the configuration says: they are read, and not changed."""
    catalog, url = state.catalog, state.url
    routes = []
    for plural, rows in (
        ("regions", catalog.regions()),
        ("services", catalog.services()),
        ("endpoints", catalog.endpoints()),
    ):
        shown = [with_link(row, url, plural) for row in rows]

        def all_of(call: Call, plural: str = plural, shown: list[dict[str, Any]] = shown) -> webob.Response:
            filters = {name: value for name, value in call.request.GET.items() if name in shown[0]}
            return listed(
                call, url, plural, [row for row in shown if all(str(row[name]) == filters[name] for name in filters)]
            )

        def one_of(call: Call, plural: str = plural, shown: list[dict[str, Any]] = shown) -> webob.Response:
            for row in shown:
                if row["id"] == call.arguments["id"]:
                    return json_answer(200, {plural[:-1]: row})
            raise missing(plural[:-1], call.arguments["id"])

        routes += [WebRoute("GET", f"/v3/{plural}", all_of), WebRoute("GET", f"/v3/{plural}/{{id}}", one_of)]
    return routes
