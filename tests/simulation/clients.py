"""The clients: each operation of the plan, sent through a real proxy; what comes back is held against the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Any, Final

from objstore.http.bodies import BytesBody
from objstore.http.messages import variable_of
from objstore.http.transport import BackendRequest
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout
from objstore.system.hub import GreenletExit
from tests.simulation.composites import Composites
from tests.simulation.hub import spawn_for
from tests.simulation.model import Kind, Model, Outcome, Write, body_of, metadata_of, number_of
from tests.simulation.network import Answer, _call, rows_in
from tests.simulation.node import EPOCH, Node
from tests.simulation.owners import Owners
from tests.simulation.plan import CHECK_NUMBER, Event
from tests.simulation.races import Races
from tests.simulation.services import ACCOUNTS, PROXY_PORT, path_of
from tests.simulation.uploads import Uploads
from tests.simulation.versioned import Versioned
from tests.simulation.world import World

PATIENCE_SECONDS: Final = 300.0
PIECE_BYTES: Final = 30000
CURIOUS_READS: Final = 8
CURIOUS_SECONDS: Final = 20.0


class SlowBody(BytesBody):
    """A body that comes in pieces."""

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        concurrency.sleep(0.01)
        return super().readinto(buffer[:PIECE_BYTES], within_seconds)


class Clients:
    """Sends, and judges what comes back."""

    def __init__(self, world: World, model: Model, token: str) -> None:
        self.world = world
        self.model = model
        self.violations: list[str] = []
        self.answers: dict[str, int] = {}
        self.acknowledged: Callable[[Write], None] = lambda write: None
        self.shown: Callable[[str, int], None] = lambda name, number: None  # called with what was read whole, of whom
        self._token = token
        self.races = Races(self)
        self.versioned = Versioned(self)
        self.composites = Composites(self)
        self.uploads = Uploads(self)
        self._others = (self, Owners(self), self.races, self.versioned, self.composites, self.uploads)
        world.network.written = self._written

    def _written(self, operation: int, request: BackendRequest) -> None:
        if request.path.container and request.path.account in ACCOUNTS:
            timestamp = request.headers.get("X-Timestamp", "")
            if timestamp:
                now = EPOCH + self.world.hub.now
                mode, version = (request.headers.get(f"X-Backend-Version-{each}", "") for each in ("Mode", "Id"))
                self.model.seen_on_wire(operation, request.method, str(request.path), timestamp, now, mode, version)

    def violation(self, text: str) -> None:
        """Something that must never be."""
        self.violations.append(text)
        self.world.note("!!", "VIOLATION", text)

    def send(
        self,
        node: Node,
        number: int,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: Any = b"",
        query: str = "",
        account: str = "",
        port: int = PROXY_PORT,
    ) -> Answer | None:
        """The answer of a proxy; None if there was none. `path` is below its account, which else has to be named."""
        owner, application = node.owner, node.servers.get(port)
        if owner is None or application is None:
            return None
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": f"/v1{path_of(path)}" if path else f"/v1/{account}",
            "QUERY_STRING": query,
            "SERVER_NAME": node.address,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": BytesBody(body) if isinstance(body, bytes) else body,
            "wsgi.url_scheme": "http",
            "HTTP_X_AUTH_TOKEN": self._token,
        }
        if isinstance(body, bytes) and method in ("PUT", "POST", "COPY"):
            environ["CONTENT_LENGTH"] = str(len(body))
        for name, value in (headers or {}).items():
            environ[variable_of(name)] = value
        task = spawn_for(owner, number, _call, application, environ)
        try:
            answer: Answer = task.wait(PATIENCE_SECONDS)
        except (WaitTimeout, GreenletExit):
            task.kill()
            return None
        return answer

    def run(self, event: Event) -> None:
        """One operation of the plan."""
        node = self.world.proxies[event.details.get("proxy", 0)]
        doer = next(each for each in self._others if hasattr(each, event.kind))
        getattr(doer, event.kind)(event, node)

    def done(self, event: Event, answer: Answer | None) -> int:
        status = 0 if answer is None else answer.status
        self.world.note("->", event, status or "no answer")
        self.count(f"{event.kind} {status}", 1)
        return status

    def count(self, what: str, number: int) -> None:
        """So often more has this been seen."""
        self.answers[what] = self.answers.get(what, 0) + number

    def list_rows(self, event: Event, node: Node, container: str, query: str = "") -> list[dict[str, Any]] | None:
        """The objects of a container as one listing shows them; None if it has not come, or not whole."""
        answer = self.send(node, event.number, "GET", container, query=f"format=json{query}")
        self.done(event, answer)
        return rows_in(answer)

    # Writes

    def put(self, event: Event, node: Node, headers: Mapping[str, str] | None = None, delete_at: float = 0) -> None:
        name, size = event.details["name"], event.details["size"]
        write = self.model.begin(event.number, Kind.PUT, name, size)
        write.delete_at = delete_at or None
        write.content_type = f"text/x-{event.number}"
        content = body_of(event.number, size)
        sent = {"Content-Type": write.content_type, **metadata_of(event.number), **(headers or {})}
        body: Any = content
        if event.kind == "put_large":
            body = SlowBody(content)
            sent["Content-Length"] = str(len(content))
        answer = self.send(node, event.number, "PUT", name, sent, body)
        if self.done(event, answer) == 201:
            self.stored(write)

    put_large = put

    def put_expiring(self, event: Event, node: Node) -> None:
        moment = int(node.time()) + event.details["after"]
        self.put(event, node, {"X-Delete-At": str(moment)}, moment)

    def delete(self, event: Event, node: Node) -> None:
        self.done(event, self.remove(event.details["name"], event.number, node))

    def remove(self, name: str, number: int, node: Node) -> Answer | None:
        """Delete an object."""
        write = self.model.begin(number, Kind.DELETE, name)
        answer = self.send(node, number, "DELETE", name)
        # A quorum that has no object says 404, and has stored the tombstones nevertheless.
        if answer is not None and (answer.status == 204 or (answer.status == 404 and write.began)):
            self.stored(write)
        return answer

    def post(self, event: Event, node: Node) -> None:
        write = self.model.begin(event.number, Kind.POST, event.details["name"])
        headers = metadata_of(event.number)
        if "after" in event.details:
            write.delete_at = int(node.time()) + event.details["after"]
            headers["X-Delete-At"] = str(write.delete_at)
        if event.details["typed"]:
            write.content_type = headers["Content-Type"] = f"text/x-{event.number}"
        if self.done(event, self.send(node, event.number, "POST", write.name, headers)) == 202:
            self.stored(write)

    post_expiring = post

    def copy(self, event: Event, node: Node) -> None:
        name, source = event.details["name"], event.details["source"]
        write = self.model.begin(event.number, Kind.PUT, name)
        write.copied_from = source
        write.content_type = f"text/x-{event.number}"
        headers = {
            "X-Copy-From": f"/{source}",
            "X-Copy-From-Account": path_of(source).account,
            "Content-Type": write.content_type,
            "X-Fresh-Metadata": "true",
            **metadata_of(event.number),
        }
        if self.done(event, self.send(node, event.number, "PUT", name, headers)) == 201:
            self.stored(write)

    def stored(self, write: Write) -> None:
        """A client has heard that its write is stored."""
        if not write.began:
            self.violation(f"acknowledged, but no server was asked: {write}")
        write.outcome = Outcome.ACKNOWLEDGED
        self.acknowledged(write)

    # Reads

    def get(self, event: Event, node: Node) -> None:
        name = event.details["name"]
        headers = {"X-Newest": "true"} if event.details["newest"] else {}
        answer = self.send(node, event.number, "GET", name, headers)
        if self.done(event, answer) == 200 and answer is not None:
            self.judge_newest(name, answer)
            if why := self.why_foreign(answer.headers):
                self.violation(f"GET {name}: {why}")

    def curious(self, name: str) -> None:
        """Read something again and again, now from this replica and now from that."""
        for number in range(CURIOUS_READS):
            concurrency.sleep(CURIOUS_SECONDS)
            answer = self.send(self.world.proxies[number % 2], CHECK_NUMBER, "GET", name)
            if answer is not None and answer.status == 200 and name in self.model.objects:
                self.judge_content(name, answer)

    def judge_content(self, name: str, answer: Answer) -> None:
        """A body that arrived whole must be one that was written, and the one that its headers tell of."""
        if answer.failed_at or len(answer.body) != int(answer.headers.get("Content-Length", "-1")):
            return
        if why := self._why_wrong(name, answer.body):
            self.violation(f"GET {name}: {why}")
        elif md5(answer.body, usedforsecurity=False).hexdigest() != answer.headers["Etag"]:
            self.violation(f"GET {name}: the body of {number_of(answer.body)} with the ETag of another")

    def judge_newest(self, name: str, answer: Answer) -> None:
        """What is read of an object, when it has just come."""
        self.judge_content(name, answer)
        number = number_of(answer.body)
        if number in self.model.writes:
            self.shown(name, number)

    def why_foreign(self, headers: Mapping[str, str]) -> str:
        """Why this cannot be an object's metadata; "" if it can."""
        found = {name: value for name, value in headers.items() if name.startswith("X-Object-Meta-")}
        number = int(found.get("X-Object-Meta-Number", "0"))
        return "" if found == metadata_of(number) else f"damaged metadata of {number}: {found}"

    def _why_wrong(self, name: str, body: bytes) -> str:
        return self.model.wrote(name, body) if name in self.model.objects else "it was never written"

    def head(self, event: Event, node: Node) -> None:
        headers = {"X-Newest": "true"} if event.details["newest"] else {}
        answer = self.send(node, event.number, "HEAD", event.details["name"], headers)
        if self.done(event, answer) == 200 and answer is not None:
            if why := self.why_foreign(answer.headers):
                self.violation(f"HEAD {event.details['name']}: {why}")
            number = int(answer.headers.get("X-Object-Meta-Number", "0"))
            if number not in self.model.writes or self.model.writes[number].name != event.details["name"]:
                self.violation(f"HEAD {event.details['name']}: metadata of {number}, which is not of this object")
