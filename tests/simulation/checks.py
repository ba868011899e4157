"""What must hold once the faults have stopped and the daemons have had their time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from objstore.paths import ResourcePath
from tests.simulation.census import Census, Copy, read_table
from tests.simulation.clients import Clients
from tests.simulation.model import Kind, Model, ObjectModel, Write
from tests.simulation.network import Answer
from tests.simulation.node import EPOCH
from tests.simulation.services import ACCOUNT
from tests.simulation.world import World

# Numbers beyond those of any plan: the checkers' own requests.
CHECK_NUMBER: Final = 10**6
EXPIRY_SLACK_SECONDS: Final = 5.0


class Checks:
    """Looks at everything through the proxies, and then at the disks themselves."""

    def __init__(self, world: World, model: Model, clients: Clients) -> None:
        self._world = world
        self._model = model
        self._clients = clients
        self._census = Census(world)
        self.found: list[str] = []
        self._states: dict[str, tuple[Write, str] | None] = {}  # what each object turned out to be

    def _wrong(self, text: str) -> None:
        self.found.append(text)
        self._world.note("!!", "CHECK", text)

    def run(self, replicated: bool) -> list[str]:
        """All that is wrong. `replicated`: daemons were there that bring replicas together."""
        for name in sorted(self._model.objects):
            self._object(self._model.objects[name])
        for node in self._world.nodes.values():
            for bug in node.bugs:
                self._wrong(f"{node.name} logged: {bug[:2000]}")
        for error in self._world.hub.errors:
            self._wrong(f"a callback failed: {error}")
        if replicated:
            for check in (self._replicas, self._listings, self._databases, self._totals, self._queues):
                self._guarded(check)
        return self.found

    def _guarded(self, check: Callable[[], None]) -> None:
        check()

    def _send(self, method: str, path: str, headers: dict[str, str] | None = None, query: str = "") -> Answer | None:
        return self._clients.send(self._world.proxies[0], CHECK_NUMBER, method, path, headers, query=query)

    # Objects as clients see them

    def _object(self, model: ObjectModel) -> None:
        answer = self._send("GET", f"/{model.name}", {"X-Newest": "true"})
        candidates = model.candidates()
        said = ", ".join(str(each) for each in candidates)
        if answer is None or answer.status not in (200, 404):
            self._wrong(f"{model.name}: {answer.status if answer else 'no answer'}; expected one of {said}")
            return
        if answer.status == 404:
            self._states[model.name] = None
            if not any(self._may_be_gone(model, each) for each in candidates):
                self._wrong(f"{model.name} is gone; expected one of {said}")
            return
        length = int(answer.headers["Content-Length"])
        if len(answer.body) != length or answer.failed_at:
            self._wrong(f"{model.name}: {len(answer.body)} bytes of {length}")
            return
        if why := self._model.wrote(model.name, answer.body):
            self._wrong(f"{model.name}: {why}")
            return
        timestamp = self._timestamp_of(model, answer)
        data = [
            each for each in candidates if each is not None and each.kind is Kind.PUT and each.timestamp == timestamp
        ]
        if not data:
            self._wrong(f"{model.name} is of {timestamp}; expected one of {said}")
            return
        self._states[model.name] = (data[0], answer.headers["Etag"])
        self._metadata(model, data[0], answer)
        if self._must_be_gone(model, data[0]):
            self._wrong(f"{model.name} should have expired at {data[0].delete_at}")

    def _timestamp_of(self, model: ObjectModel, answer: Answer) -> str:
        """Of the data. A client is not told, so it is read from the disks."""
        path = ResourcePath(ACCOUNT, *model.name.split("/"))
        copies = self._census.objects().get(self._world.hasher.hexdigest(path), [])
        newest = max((copy.standing.timestamp for copy in copies), default="")
        return newest

    def _metadata(self, model: ObjectModel, data: Write, answer: Answer) -> None:
        number = int(answer.headers.get("X-Object-Meta-Number", "0"))
        allowed = model.metadata_candidates(data)
        if number not in {each.number for each in allowed}:
            self._wrong(f"{model.name} has metadata of {number}; expected {', '.join(map(str, allowed))}")
        content_type = answer.headers.get("Content-Type", "")
        if content_type not in model.type_candidates(data):
            self._wrong(f"{model.name} has type {content_type}; expected {sorted(model.type_candidates(data))}")

    def _expiry(self, model: ObjectModel, data: Write) -> list[float | None]:
        return [each.delete_at for each in model.metadata_candidates(data)]

    def _spread(self) -> float:
        return max(abs(node.skew_seconds) for node in self._world.nodes.values()) + EXPIRY_SLACK_SECONDS

    def _may_be_gone(self, model: ObjectModel, write: Write | None) -> bool:
        if write is None or write.kind is Kind.DELETE:
            return True
        now = EPOCH + self._world.hub.now + self._spread()
        return any(moment is not None and moment <= now for moment in self._expiry(model, write))

    def _must_be_gone(self, model: ObjectModel, write: Write) -> bool:
        now = EPOCH + self._world.hub.now - self._spread()
        return all(moment is not None and moment <= now for moment in self._expiry(model, write))

    # Replicas

    def _replicas(self) -> None:
        for digest, copies in sorted(self._census.objects().items()):
            partition = int(copies[0].partition)
            primaries = self._census.primaries("object", partition)
            for copy in copies:
                if copy.disk not in primaries and copy.names:
                    self._wrong(f"{copy.disk} still has {digest} {copy.names} as a handoff")
                if set(copy.names) != set(copy.wanted):
                    self._wrong(f"{copy.disk} keeps obsolete files of {digest}: {copy.names}")
            held = {copy.disk: copy for copy in copies if copy.disk in primaries}
            live = any(copy.standing.data is not None for copy in held.values())
            names = {held[disk].wanted if disk in held else () for disk in primaries}
            if len(names) > 1 and (live or not self._only_tombstones(names)):
                shown = {disk: held[disk].wanted if disk in held else () for disk in primaries}
                self._wrong(f"replicas of {digest} differ: {shown}")
            else:
                self._same_bytes(digest, list(held.values()))

    def _only_tombstones(self, names: set[tuple[str, ...]]) -> bool:
        # They are reclaimed by each node in its own time.
        return all(name.endswith(".ts") for each in names for name in each)

    def _same_bytes(self, digest: str, copies: list[Copy]) -> None:
        for name in copies[0].wanted if copies else ():
            contents = set()
            for copy in copies:
                path = f"{copy.directory}/{name}"
                if os.path.exists(path):
                    with open(path, "rb") as file:
                        contents.add((file.read(), os.getxattr(path, "user.objstore.metadata")))
            if len(contents) > 1:
                self._wrong(f"replicas of {digest} have different bytes in {name}")

    # Listings

    def _listings(self) -> None:
        for container in sorted(name for name, made in self._model.containers.items() if made):
            answer = self._send("GET", f"/{container}", {"X-Newest": "true"}, "format=json")
            if answer is None or answer.status not in (200, 204):
                self._wrong(f"listing of {container}: {answer.status if answer else 'no answer'}")
                continue
            rows = {row["name"]: row for row in msgspec.json.decode(answer.body)}
            self._compare_listing(container, rows)
            size = sum(row["bytes"] for row in rows.values())
            told = answer.headers["X-Container-Object-Count"], answer.headers["X-Container-Bytes-Used"]
            if told != (str(len(rows)), str(size)):
                self._wrong(f"{container} says it has {told}, and lists {len(rows)} of {size} bytes")

    def _compare_listing(self, container: str, rows: dict[str, Any]) -> None:
        for model in self._model.of_container(container):
            name = model.name.partition("/")[2]
            state = self._states.get(model.name)
            row = rows.get(name)
            if state is None and row is not None:
                self._wrong(f"{container} lists {name}, which is gone: {row}")
            elif state is not None and row is None:
                self._wrong(f"{container} does not list {name}, which is {state[0]}")
            elif state is not None and row["hash"] != state[1]:
                self._wrong(f"{container} lists {name} with {row['hash']}, which is {state[0]} {state[1]}")

    def _databases(self) -> None:
        """All replicas of each database hold the same rows."""
        columns = {"container": "name, deleted, timestamp, content_type_timestamp, meta_timestamp, size, etag"}
        columns["account"] = "name, put_timestamp, delete_timestamp, object_count, bytes_used, stats_timestamp"
        for kind in ("container", "account"):
            for digest, files in sorted(self._census.databases(kind).items()):
                partition = int(files[0][1].split("/")[-4])
                primaries = self._census.primaries(kind, partition)
                contents = {}
                for disk, path in files:
                    if disk not in primaries:
                        self._wrong(f"{disk} still has {kind} {digest} as a handoff")
                        continue
                    statement = f"SELECT {columns[kind]} FROM row WHERE NOT deleted ORDER BY name"
                    contents[disk] = read_table(path, statement)
                missing = set(primaries) - set(contents)
                if missing:
                    self._wrong(f"{sorted(missing)} lack {kind} {digest}")
                if len({str(rows) for rows in contents.values()}) > 1:
                    self._wrong(f"replicas of {kind} {digest} differ: { {d: len(r) for d, r in contents.items()} }")

    def _totals(self) -> None:
        """The account's figures are the sums of its containers'."""
        answer = self._send("GET", "", {"X-Newest": "true"}, "format=json")
        if answer is None or answer.status != 200:
            self._wrong(f"the account: {answer.status if answer else 'no answer'}")
            return
        listed = {row["name"]: (row["count"], row["bytes"]) for row in msgspec.json.decode(answer.body)}
        real = {}
        for container in sorted(name for name, made in self._model.containers.items() if made):
            head = self._send("HEAD", f"/{container}", {"X-Newest": "true"})
            if head is not None and head.status == 204:
                count, size = head.headers["X-Container-Object-Count"], head.headers["X-Container-Bytes-Used"]
                real[container] = int(count), int(size)
        if {name: figures for name, figures in listed.items() if name in real} != real:
            self._wrong(f"the account lists {listed}, its containers are {real}")

    def _queues(self) -> None:
        pending = self._census.pending()
        if pending:
            self._wrong(f"{len(pending)} updates were never delivered: {pending[0]}")
