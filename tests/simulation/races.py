"""Clients that write and read a few objects at the same time, through both proxies, also on conditions.

What each of them got is kept as a history, for which an order is looked for in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tests.linearizability import ABSENT, Kind, Result
from tests.simulation import model
from tests.simulation.history import Attempt, Histories
from tests.simulation.model import Write, body_of, metadata_of
from tests.simulation.network import Answer
from tests.simulation.node import Node
from tests.simulation.plan import Event, is_strong

if TYPE_CHECKING:
    from tests.simulation.clients import Clients

NO_ETAG: Final = "0" * 32
FOUND_SOMETHING: Final = "?"
# Each of them shows the object, or that it is not there.
LISTINGS: Final = ("", "&prefix={name}", "&reverse=true&limit=9000", "&end_marker={name}0", "&delimiter=%2F&limit=5000")


class Races:
    """Operations on contended objects."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._etags: dict[str, str] = {}  # what any client has seen last of each object; ABSENT if it was not there
        self.histories = Histories(clients.world)

    def race_put(self, event: Event, node: Node) -> None:
        """Store something, perhaps only if there is nothing, or only in the place of what was seen last."""
        name, size = event.details["name"], event.details["size"]
        write = self._clients.model.begin(event.number, model.Kind.PUT, name, size)
        write.content_type = f"text/x-{event.number}"
        headers = {"Content-Type": write.content_type, **metadata_of(event.number)}
        attempt = Attempt(Kind.PUT, self._clients.world.hub.now, event.number, write.etag)
        self._write(event, node, attempt, write, headers, body_of(event.number, size))

    def race_delete(self, event: Event, node: Node) -> None:
        """Delete it, perhaps only if it is as it was seen last."""
        write = self._clients.model.begin(event.number, model.Kind.DELETE, event.details["name"])
        attempt = Attempt(Kind.DELETE, self._clients.world.hub.now, event.number, FOUND_SOMETHING)
        self._write(event, node, attempt, write, {}, b"")

    def _write(
        self, event: Event, node: Node, attempt: Attempt, write: Write, headers: Mapping[str, str], body: bytes
    ) -> None:
        condition = self._condition(event, attempt)
        end = self.histories.begin(write.name, attempt)
        answer = self._clients.send(node, event.number, write.kind.value, write.name, {**headers, **condition}, body)
        status = self._clients.done(event, answer)
        # A quorum that has no object says 404, and has stored the tombstones nevertheless.
        nothing_there = status == 404 and write.kind is model.Kind.DELETE and write.began
        if status in (201, 204) or (nothing_there and not condition):
            end(Result.DONE, attempt.value)
            self._etags[write.name] = attempt.value if write.kind is model.Kind.PUT else ABSENT
            self._clients.stored(write)
        elif condition and (status == 412 or nothing_there):
            end(Result.REFUSED, attempt.value)
        else:
            end(Result.UNKNOWN, attempt.value)

    def _condition(self, event: Event, attempt: Attempt) -> dict[str, str]:
        match event.details["condition"]:
            case "absent":
                attempt.if_absent = True
                return {"If-None-Match": "*"}
            case "match":
                attempt.if_match = self._etags.get(event.details["name"]) or NO_ETAG
                return {"If-Match": attempt.if_match}
        return {}

    def race_get(self, event: Event, node: Node) -> None:
        """Read it."""
        name = event.details["name"]
        end = self.histories.begin(name, Attempt(Kind.READ, self._clients.world.hub.now, event.number))
        answer = self._clients.send(node, event.number, "GET", name)
        status = self._clients.done(event, answer)
        if answer is None or status not in (200, 404):
            end(Result.UNKNOWN, ABSENT)
            return
        if status == 200:
            self._clients.judge_newest(name, answer)
        self._etags[name] = _etag(answer)
        end(Result.DONE, _etag(answer))

    def race_list(self, event: Event, node: Node) -> None:
        """List the container: what was acknowledged before is in it, or something newer."""
        name = event.details["name"]
        segment = self.histories.segment(name)
        known = self._clients.model.objects.get(name)
        floor = max((each.timestamp for each in known.writes if each.acknowledged), default="") if known else ""
        container, _, key = name.partition("/")
        query = LISTINGS[event.number % len(LISTINGS)].format(name=key)
        rows = self._clients.list_rows(event, node, container, query)
        if known is None or rows is None or not segment or segment != self.histories.segment(name):
            return
        hashes = {row["name"]: row["hash"] for row in rows}
        found = hashes.get(key)
        since = [each for each in known.writes if each.began and each.timestamp >= floor]
        is_listed = any((each.etag if each.kind is model.Kind.PUT else None) == found for each in since)
        if is_listed or (found is None and not floor):
            return
        if is_strong(name):
            self._clients.violation(f"a listing shows {name} as {found}; written at {floor} or later: {since}")
        else:
            self._clients.count("listed late", 1)


def _etag(answer: Answer) -> str:
    return answer.headers["Etag"] if answer.status == 200 else ABSENT
