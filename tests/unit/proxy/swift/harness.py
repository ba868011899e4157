"""A proxy without servers: a context made up by the test, and handlers that answer as the test says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from objstore.cluster import Cluster
from objstore.config.proxy import AuthConfig, ProxyConfig
from objstore.http.bodies import EMPTY_BODY, BytesBody
from objstore.http.messages import BodyReader, Response, variable_of
from objstore.limits import Limits
from objstore.logs import Logger, Sink
from objstore.metrics import Metrics
from objstore.paths import PathHasher, ResourcePath
from objstore.policies import Policies, Policy
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.info import ABSENT, AccountInfo, ContainerInfo
from objstore.proxy.core.quotas import QuotaKeeper
from objstore.proxy.swift.features.quotas import Quotas
from objstore.proxy.swift.pipeline import Handler, ProxyApplication
from objstore.proxy.swift.request import SwiftRequest
from objstore.system.shared_counters import SharedCounters, SharedMarks
from tests.doubles import ManualClock

NOW = 1_700_000_000.0
USERS = """
users = [
    {account = "test", name = "tester", key = "testing", groups = [".admin"]},
    {account = "test", name = "tester3", key = "testing3"},
    {account = "test2", name = "tester2", key = "testing2", groups = [".admin"]},
    {account = "test5", name = "tester5", key = "testing5", groups = ["service"]},
    {account = "audit", name = "reader", key = "reading", groups = [".reseller_reader"]},
    {account = "admin", name = "admin", key = "admin", groups = [".admin", ".reseller_admin"]},
]
"""


class FakeInfo:
    """Knows what the test has put in."""

    def __init__(self) -> None:
        self.accounts: dict[str, AccountInfo] = {}
        self.containers: dict[str, ContainerInfo] = {}

        self.forgotten: list[str] = []

    def account(self, account: str, transaction_id: str) -> AccountInfo:
        return self.accounts.get(account, AccountInfo(ABSENT))

    def container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo:
        return self.containers.get(str(path.container_path), ContainerInfo(ABSENT))

    def container_and_account(self, path: ResourcePath, transaction_id: str) -> tuple[ContainerInfo, AccountInfo]:
        return self.container(path, transaction_id), self.account(path.account, transaction_id)

    def forget_container(self, path: ResourcePath) -> None:
        self.forgotten.append(str(path.container_path))


class Handlers:
    """The far end of the pipeline: weighs the lists as the real ones do, then gives the answers it was told."""

    def __init__(self, info: FakeInfo) -> None:
        self.info = info
        self.requests: list[SwiftRequest] = []
        self.answers: dict[tuple[str, str], Response] = {}
        self.error: Exception | None = None
        self.quotas: Quotas | None = None
        self.follow: Handler | None = None  # what else a request does that is let in

    def handler(self, method: str, kind: str) -> Handler:
        return self

    def upload(self, request: SwiftRequest, body: BodyReader) -> None:
        """Receive what is to be stored."""
        request.environ["test.body"] = body.read()

    def __call__(self, request: SwiftRequest) -> Response:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        resource = request.storage_resource
        acl, container = None, ContainerInfo(ABSENT)
        if resource.container and (resource.object or request.method in ("GET", "HEAD")):
            container = self.info.container(resource, "")
            acl = container.read_acl if request.method in ("GET", "HEAD") else container.write_acl
        request.check_access(acl)
        if resource.object and request.method == "PUT" and self.quotas is not None:
            account, length = self.info.account(resource.account, ""), request.content_length
            with self.quotas.reserve(request, resource, container, account, length) as body:
                self.upload(request, body)
        elif request.method == "PUT":
            self.upload(request, request.body)
        if self.follow is not None:
            return self.follow(request)
        answer = self.answers.get((request.method, str(resource)))
        return Response(201 if request.method == "PUT" else 200) if answer is None else answer


class Proxy:
    """The whole pipeline around such handlers."""

    def __init__(self, folder: Path, config: ProxyConfig | None = None, users: str = USERS) -> None:
        users_file = folder / "users.toml"
        users_file.write_text(users, encoding="utf-8")
        config = ProxyConfig() if config is None else config
        changed = {name: getattr(config, name) for name in config.__struct_fields__}
        auth = {name: getattr(config.auth, name) for name in config.auth.__struct_fields__}
        changed["auth"] = AuthConfig(**{**auth, "users": str(users_file)})
        self.lines: list[str] = []
        self.clock = ManualClock(NOW)
        sink = Sink(write=lambda line: self.lines.append(line.decode()), now=lambda: NOW)
        runtime = SimpleNamespace(
            log=Logger("proxy", sink),
            clock=self.clock,
            metrics=Metrics(),
            random=Random(1),
            shared_counters=SharedCounters(),
            shared_marks=SharedMarks(),
        )
        policies = Policies((Policy(0, "gold", default=True), Policy(1, "silver", aliases=("Argent",))))
        cluster = Cluster(PathHasher("", "salt"), policies, Limits())
        self.info = FakeInfo()
        self.context = cast(
            ProxyContext,
            SimpleNamespace(
                config=ProxyConfig(**changed),
                cluster=cluster,
                runtime=runtime,
                lookup=self.info,
                rings=SimpleNamespace(faults=list),
                quotas=None,
            ),
        )
        self.handlers = Handlers(self.info)
        self.forget_uploads()
        self.handle = ProxyApplication(self.context, self.handlers).answer

    def forget_uploads(self) -> None:
        """As if nothing was uploaded before."""
        cast(Any, self.context).quotas = QuotaKeeper(cast(Any, self.info), self.clock)
        self.handlers.quotas = Quotas(self.context)

    def send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        query: str = "",
    ) -> Response:
        """A request; the path is unquoted, as PEP 3333 has it."""
        request = SwiftRequest(environ_of(method, path, headers, body, query), self.context.cluster.limits)
        response = self.handle(request)
        for told in request.environ.get("objstore.sent", ()):
            told(0 if method == "HEAD" else len(response.body) if isinstance(response.body, bytes) else 0, True)
        return response

    def token(self, user: str, key: str) -> str:
        """Log in."""
        answer = self.send("GET", "/auth/v1.0", {"X-Auth-User": user, "X-Auth-Key": key})
        assert answer.status == 200
        return answer.headers["X-Auth-Token"]

    @property
    def seen(self) -> SwiftRequest:
        """The last request that reached the handlers."""
        return self.handlers.requests[-1]


def environ_of(
    method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"", query: str = ""
) -> dict[str, Any]:
    """What a server makes of a request."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8080",
        "REMOTE_ADDR": "127.0.0.9",
        "HTTP_HOST": "store.example:8080",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesBody(body) if body else EMPTY_BODY,
    }
    if body or method in ("PUT", "POST"):
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in (headers or {}).items():
        environ[variable_of(name)] = value
    return environ
