"""The services that the agent of a host talks to, small and in memory, at one address: identity, compute, images."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from objstore.client.errors import NotFound
from objstore.compute.protocol import HostRegistration, HostReport
from tests.unit.compute.host.machines import Compute, Images

TOKEN = {"token": {"expires_at": "2099-01-01T00:00:00Z", "catalog": []}}


class CloudServices(ThreadingHTTPServer):
    """`hold` stops uploads after their first bytes until it is set."""

    daemon_threads = True

    def __init__(self, images: Images, compute: Compute) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.images, self.compute = images, compute
        self.uploads: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Agents that are killed leave broken connections."""


class _Handler(BaseHTTPRequestHandler):
    server: CloudServices
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """The test says what it needs to know."""

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.body()
        compute = self.server.compute
        try:
            if self.path == "/v3/auth/tokens":
                self.answer(201, json.dumps(TOKEN).encode(), {"X-Subject-Token": "secret"})
            elif self.path == "/host/v1/hosts":
                registered = compute.register(msgspec.json.decode(body, type=HostRegistration))
                self.answer(200, msgspec.json.encode(registered))
            else:
                told = compute.report("host", msgspec.json.decode(body, type=HostReport))
                self.answer(200, msgspec.json.encode(told))
        except NotFound:
            self.answer(404)

    def do_GET(self) -> None:
        assert self.headers["X-Auth-Token"] == "secret"
        image_id, _, what = self.path.removeprefix("/v2/images/").partition("/")
        content = self.server.images.contents.get(image_id)
        if not what:
            status = "queued" if content is None else "active"
            self.answer(200, json.dumps({"id": image_id, "status": status}).encode())
        elif content is None:
            self.answer(404)
        elif what == "digests":
            self.answer(200, self.server.images.digests(image_id) or b"")
        else:
            match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
            assert match is not None
            first, last = int(match[1]), int(match[2])
            self.answer(206, self.server.images.read(image_id, first, last - first + 1))

    def do_PATCH(self) -> None:
        self.body()
        self.answer(200, b"{}")

    def do_PUT(self) -> None:
        image_id = self.path.removeprefix("/v2/images/").removesuffix("/file")
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(min(length, 100_000))
        self.server.uploads.append(image_id)
        self.server.hold.wait(30)
        content += self.rfile.read(length - len(content))
        if len(content) == length:
            self.server.images.contents[image_id] = content
            self.answer(204)
