"""An identity service in a test's own folder, and requests to it. Its clock is the test's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import webob

from objstore.config.identity import CatalogConfig, FirstStartConfig, IdentityConfig
from objstore.identity.service import make_application, make_state, prepare

PASSWORD: Final = "sesame"
URL: Final = "http://identity.example"


@dataclass
class IdentityService:
    """`now` is what its clock says: seconds since the epoch."""

    folder: Path
    now: float = 1_800_000_000.0
    database: str = ""
    config: IdentityConfig = field(init=False)

    def __post_init__(self) -> None:
        self.config = IdentityConfig(
            database=self.database or f"sqlite:///{self.folder}/identity.sqlite",
            keys=str(self.folder / "keys"),
            url=URL,
            first_start=FirstStartConfig(password=PASSWORD),
            catalog=(CatalogConfig("object-store", "store", "http://store.example/v1/AUTH_{project_id}"),),
        )
        self.state = make_state(self.config, lambda: self.now)
        prepare(self.state, self.config)
        self.application = make_application(self.state)
        self.admin = self.log_in("admin", PASSWORD, "admin")

    def ask(self, method: str, path: str, token: str = "", body: object = None, **headers: str) -> webob.Response:
        """One request. Time goes on with each, as it does in life."""
        self.now += 0.001
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["X-Auth-Token"] = token
        request = webob.Request.blank(path, method=method, headers=sent)
        request.environ["REQUEST_URI"] = path
        request.remote_addr = "192.0.2.1"
        if body is not None:
            request.body, request.content_type = json.dumps(body).encode(), "application/json"
        return request.get_response(self.application)

    def made(self, path: str, token: str = "", **values: Any) -> dict[str, Any]:
        """What POST makes of these values; the singular of the path's last part is the body's key."""
        kind = path.rpartition("/")[2][:-1]
        answer = self.ask("POST", f"/v3/{path}", token or self.admin, {kind: values})
        assert answer.status_int == 201, answer.text
        found: dict[str, Any] = answer.json[kind]
        return found

    def login(self, user: str, password: str, scope: object = None, **asked: Any) -> webob.Response:
        """POST /v3/auth/tokens by password; a scope that is text is the name of a project."""
        named = {"name": user, "domain": {"id": "default"}, "password": password, **asked}
        return self.authenticate({"methods": ["password"], "password": {"user": named}}, scope)

    def authenticate(self, identity: object, scope: object = None) -> webob.Response:
        auth: dict[str, object] = {"identity": identity}
        if isinstance(scope, str) and scope != "unscoped":
            scope = {"project": {"name": scope, "domain": {"name": "Default"}}}
        if scope is not None:
            auth["scope"] = scope
        return self.ask("POST", "/v3/auth/tokens", body={"auth": auth})

    def log_in(self, user: str, password: str, scope: object = None) -> str:
        answer = self.login(user, password, scope)
        assert answer.status_int == 201, answer.text
        return str(answer.headers["X-Subject-Token"])

    def by_token(self, token: str, scope: object = None) -> webob.Response:
        return self.authenticate({"methods": ["token"], "token": {"id": token}}, scope)

    def holds(self, token: str) -> bool:
        """Whether a token holds, as a service asks it: 404 if not."""
        answer = self.ask("GET", "/v3/auth/tokens", self.service_token(), X_Subject_Token=token)
        return answer.status_int == 200

    def service_token(self) -> str:
        return self.log_in("glance", "glance", "service")

    def role(self, name: str) -> str:
        return str(self.ask("GET", f"/v3/roles?name={name}", self.admin).json["roles"][0]["id"])

    def project(self, name: str) -> str:
        return str(self.ask("GET", f"/v3/projects?name={name}", self.admin).json["projects"][0]["id"])

    def grant(self, user: str, role: str, project: str, method: str = "PUT") -> webob.Response:
        """By the ids of user and project, and the name of the role."""
        path = f"/v3/projects/{project}/users/{user}/roles/{self.role(role)}"
        return self.ask(method, path, self.admin)

    def change(self, path: str, **values: Any) -> None:
        """PATCH by the administrator."""
        kind = path.split("/")[0][:-1]
        assert self.ask("PATCH", f"/v3/{path}", self.admin, {kind: values}).status_int == 200

    def populate(self) -> None:
        """alice is a member of the project "red", bob of "blue", and glance is a service."""
        self.red, self.blue = (self.made("projects", name=name)["id"] for name in ("red", "blue"))
        self.alice, self.bob, self.glance = (
            self.made("users", name=name, password=name)["id"] for name in ("alice", "bob", "glance")
        )
        self.grant(self.alice, "member", self.red)
        self.grant(self.bob, "member", self.blue)
        self.grant(self.glance, "service", self.project("service"))

    def recognize(self) -> None:
        """Learn the ids of what `populate` made in a copy of this folder."""
        self.red, self.blue = map(self.project, ("red", "blue"))
        users = {user["name"]: user["id"] for user in self.ask("GET", "/v3/users", self.admin).json["users"]}
        self.alice, self.bob, self.glance = (users[name] for name in ("alice", "bob", "glance"))
