"""The whole image service in one process: stores in memory, callers by name, and a clock that tests move."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import webob

from objstore.cloud.callers import CloudCaller
from objstore.cloud.database import SqlDatabase
from objstore.config.image import ImageConfig, ImageQuotaConfig, ImageStoreConfig
from objstore.image.remote import RemotePolicy
from objstore.image.service import MIGRATIONS, ImageWebService
from objstore.image.stores.store import StoreFailed

PATCH = "application/openstack-images-v2.1-json-patch"
RAW = {"disk_format": "raw", "container_format": "bare"}


@dataclass
class MemoryStore:
    """A store that can be made to fail; what a failed write has stored stays under a name of its own."""

    name: str
    kind: str = "memory"
    objects: dict[str, bytes] = field(default_factory=dict)
    fails: bool = False
    while_writing: Callable[[], object] = lambda: None

    def write(self, name: str, pieces: Iterable[bytes]) -> None:
        content = b""
        for piece in pieces:
            content += piece
            self.objects[f"{name}/part"] = content
            self.while_writing()
            if self.fails:
                raise StoreFailed(self.name, "told to")
        self.objects.pop(f"{name}/part", None)
        self.objects[name] = content

    def read(self, name: str, first: int, count: int) -> Iterator[bytes]:
        if self.fails:
            raise StoreFailed(self.name, "told to")
        yield self.objects[name][first : first + count]

    def discard(self, name: str) -> None:
        if self.fails:
            raise StoreFailed(self.name, "told to")
        self.objects.pop(name, None)
        self.objects.pop(f"{name}/part", None)


class NamedCallers:
    """A token is "USER:PROJECT:ROLE,ROLE"."""

    challenge = "Keystone"

    def of(self, token: str) -> CloudCaller | None:
        user, _, rest = token.partition(":")
        project, _, roles = rest.partition(":")
        granted = frozenset(roles.split(","))
        return CloudCaller(
            user, user, "d", project or None, project, "d", granted, token, datetime.max.replace(tzinfo=UTC)
        )


OWNER = "owner:p1:member"
OTHER = "other:p2:member"
READER = "reader:p1:reader"
ADMIN = "admin:p0:admin"
SERVICE = "nova:p9:service"


@dataclass
class Answered:
    """What came back."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ServiceInMemory:
    """Requests to it are function calls; imports are done when they are asked for."""

    def __init__(self, folder: Path, quota: ImageQuotaConfig | None = None, database: str = "") -> None:
        self.microseconds = 1_700_000_000_000_000
        self.database = SqlDatabase(database or f"sqlite:///{folder}/image.sqlite", MIGRATIONS)
        self.database.upgrade()
        stores = tuple(ImageStoreConfig(name, "http://x/auth/v1.0", "u") for name in ("first", "second"))
        config = ImageConfig(stores, quota=quota or ImageQuotaConfig())
        self.first, self.second = MemoryStore("first"), MemoryStore("second")
        policy = RemotePolicy(resolve=lambda _host, _port: ["127.0.0.1"])
        named = {"first": self.first, "second": self.second}
        self.service = ImageWebService(config, self.database, named, NamedCallers(), policy)
        self.service.transfers.now = self._tick
        self.reclaimer = self.service.reclaimer

    def _tick(self) -> int:
        self.microseconds += 1
        return self.microseconds

    def later(self, seconds: float) -> None:
        self.microseconds += int(seconds * 1_000_000)

    def close(self) -> None:
        self.service.pool.shutdown()
        self.database.close()

    def imported(self) -> None:
        """Wait until the imports that were begun have ended."""
        self.service.pool.submit(lambda: None).result(30)
        self.service.pool.shutdown()
        self.service.pool.__init__(1)  # type: ignore[misc]

    def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        token: str = OWNER,
        body: Any = b"",
        kind: str = "",
        **headers: str,
    ) -> Answered:
        """`body` may be a function that is asked for pieces."""
        request = webob.Request.blank(path, method=method)
        request.headers["X-Auth-Token"] = token
        request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        if document is not None:
            body, kind = json.dumps(document).encode(), kind or "application/json"
        if method in ("POST", "PUT", "PATCH"):
            request.body = body
        if kind:
            request.content_type = kind
        response = request.get_response(self.service.application)
        return Answered(response.status_int, response.headers, response.body)

    def create(self, token: str = OWNER, **attributes: Any) -> str:
        """The id of a new image."""
        answer = self.ask("POST", "/v2/images", {**RAW, **attributes}, token=token)
        assert answer.status == 201, answer.body
        return str(answer.json["id"])

    def upload(self, image: str, content: bytes = b"content", token: str = OWNER, **headers: str) -> int:
        kind = "application/octet-stream"
        return self.ask("PUT", f"/v2/images/{image}/file", body=content, kind=kind, token=token, **headers).status

    def stage(self, image: str, content: bytes = b"content") -> int:
        return self.ask("PUT", f"/v2/images/{image}/stage", body=content, kind="application/octet-stream").status

    def active(self, content: bytes = b"content", token: str = OWNER, **attributes: Any) -> str:
        """The id of a new image that has data."""
        image = self.create(token, **attributes)
        assert self.upload(image, content, token) == 204
        return image

    def patch(self, image: str, *changes: dict[str, Any], token: str = OWNER, kind: str = PATCH) -> Answered:
        return self.ask("PATCH", f"/v2/images/{image}", list(changes), kind=kind, token=token)

    def replace(self, image: str, name: str, value: object, token: str = OWNER) -> Answered:
        return self.patch(image, {"op": "replace", "path": f"/{name}", "value": value}, token=token)

    def shown(self, image: str, token: str = OWNER) -> Any:
        answer = self.ask("GET", f"/v2/images/{image}", token=token)
        assert answer.status == 200, answer.body
        return answer.json

    def listed(self, query: str = "", token: str = OWNER) -> list[str]:
        """The names of the images on the first page."""
        answer = self.ask("GET", f"/v2/images?{query}", token=token)
        assert answer.status == 200, answer.body
        return [each["name"] for each in answer.json["images"]]
