"""As much of an identity service as other services need in tests: logins, tokens that say what they hold, a catalog."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

DOMAIN: Final = {"id": "default", "name": "Default"}
NEVER: Final = "2099-01-01T00:00:00.000000Z"


class TinyIdentity(ThreadingHTTPServer):
    """Anybody logs in. Users called admin..., service... or reader... have that role. Tokens: USER:PROJECT:ROLE."""

    daemon_threads = True

    def __init__(self, catalog: dict[str, str]) -> None:
        """`catalog` has the URLs of services by their types."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.catalog = catalog
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v3"

    def token(self, user: str, project: str, role: str) -> dict[str, Any]:
        catalog = [
            {
                "id": kind,
                "type": kind,
                "name": kind,
                "endpoints": [
                    {"id": interface, "interface": interface, "region": "R", "region_id": "R", "url": url}
                    for interface in ("public", "internal", "admin")
                ],
            }
            for kind, url in {"identity": self.url, **self.catalog}.items()
        ]
        return {
            "methods": ["password"],
            "user": {"id": user, "name": user, "domain": DOMAIN, "password_expires_at": None},
            "project": {"id": project, "name": project, "domain": DOMAIN},
            "is_domain": False,
            "roles": [{"id": role, "name": role}],
            "audit_ids": ["a"],
            "issued_at": "2020-01-01T00:00:00.000000Z",
            "expires_at": NEVER,
            "catalog": catalog,
        }


class _Handler(BaseHTTPRequestHandler):
    server: TinyIdentity
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if not self.path.startswith("/v3/auth/tokens"):
            links = [{"rel": "self", "href": self.server.url + "/"}]
            version = {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links}
            self._answer(200, {"version": version})
            return
        words = self.headers["X-Subject-Token"].split(":")
        if len(words) == 3:
            self._answer(200, {"token": self.server.token(*words)}, ":".join(words))
        else:
            self._answer(404, {"error": {"code": 404, "message": "no such token", "title": "Not Found"}})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        user = asked["identity"]["password"]["user"]["name"]
        project = asked["scope"]["project"]["name"]
        role = next((role for role in ("admin", "service", "reader") if user.startswith(role)), "member")
        self._answer(201, {"token": self.server.token(user, project, role)}, f"{user}:{project}:{role}")

    def _answer(self, status: int, document: object, token: str = "") -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if token:
            self.send_header("X-Subject-Token", token)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def tiny_identity(catalog: dict[str, str]) -> Iterator[TinyIdentity]:
    """One that runs."""
    with TinyIdentity(catalog) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
