"""What clients do in containers that keep versions: they write, read, remove and restore versions by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.simulation.model import Kind, Write, body_of, metadata_of
from tests.simulation.network import Answer, rows_in
from tests.simulation.node import Node
from tests.simulation.plan import Event, is_strong
from tests.simulation.stored_forms import stamp_of_id

if TYPE_CHECKING:
    from tests.simulation.clients import Clients

VERSION_ID: Final = "X-Object-Version-Id"
NULL: Final = "null"


class Versioned:
    """Operations on objects of which versions are kept."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._model = clients.model
        self._known: dict[str, list[tuple[str, Write]]] = {}  # the ids that clients have been told, by object
        self._is_disturbed = False  # what a majority had once may not be on the next one
        clients.world.when_disturbed.append(self._disturbed)

    def _disturbed(self) -> None:
        self._is_disturbed = True

    def v_switch(self, event: Event, node: Node) -> None:
        """Let a container keep versions from now on, or not."""
        headers = {"X-Versions-Enabled": event.details["enabled"]}
        answer = self._clients.send(node, event.number, "POST", event.details["container"], headers)
        self._clients.done(event, answer)

    def v_put(self, event: Event, node: Node) -> None:
        """Store a version, or while none are kept the plain object."""
        name, size = event.details["name"], event.details["size"]
        write = self._model.begin(event.number, Kind.PUT, name, size)
        write.content_type = f"text/x-{event.number}"
        headers = {"Content-Type": write.content_type, **metadata_of(event.number)}
        answer = self._clients.send(node, event.number, "PUT", name, headers, body_of(event.number, size))
        self._stored(event, write, answer, (201,))

    def v_delete(self, event: Event, node: Node) -> None:
        """Set a delete marker."""
        write = self._model.begin(event.number, Kind.DELETE, event.details["name"])
        self._stored(event, write, self._clients.send(node, event.number, "DELETE", write.name), (204, 404))

    def v_restore(self, event: Event, node: Node) -> None:
        """Make a version the current one again."""
        found = self._pick(event)
        if found is not None:
            identifier, version = found
            write = self._model.begin(event.number, Kind.PUT, version.name)
            answer = self._clients.send(node, event.number, "PUT", version.name, query=f"version-id={identifier}")
            if self._clients.done(event, answer) == 201:
                if not version.is_of(write.restores):
                    self._clients.violation(f"version {version} of {version.name} was restored as another one")
                self._clients.stored(write)

    def v_remove(self, event: Event, node: Node) -> None:
        """Remove a version for good."""
        found = self._pick(event)
        if found is not None:
            identifier, version = found
            write = self._model.begin(event.number, Kind.DELETE, version.name)
            answer = self._clients.send(node, event.number, "DELETE", version.name, query=f"version-id={identifier}")
            if self._clients.done(event, answer) in (204, 404) and write.removes:
                self._clients.stored(write)

    def v_get(self, event: Event, node: Node) -> None:
        """Read a version."""
        found = self._pick(event)
        if found is not None:
            answer = self._clients.send(node, event.number, "GET", found[1].name, query=f"version-id={found[0]}")
            if self._clients.done(event, answer) == 200 and answer is not None:
                self.judge(found[1], answer)

    def judge(self, version: Write, answer: Answer) -> None:
        """What was read must be that version, and no other one."""
        self._clients.judge_content(version.name, answer)
        if version.kind is Kind.DELETE or (not version.copied_from and answer.headers["Etag"] != version.etag):
            self._clients.violation(f"GET of version {version} of {version.name} finds {answer.headers['Etag']}")

    def v_list(self, event: Event, node: Node) -> None:
        """All versions in a container."""
        container = event.details["container"]
        kept = [version for model in self._model.of_container(container) for version in model.kept()]
        stored = [version for version in kept if version.acknowledged]
        removed = [version for version in kept if any(each.acknowledged for each in self._removals_of(version))]
        answer = self._clients.send(node, event.number, "GET", container, query="versions&format=json")
        self._clients.done(event, answer)
        rows = rows_in(answer)
        for row in rows or ():
            self._judge_row(container, row)
        if rows is not None and is_strong(f"{container}/") and not self._is_disturbed:
            self._judge_strong(container, rows, stored, removed)

    def _removals_of(self, version: Write) -> list[Write]:
        return self._model.objects[version.name].removals_of(version)

    def _judge_strong(
        self, container: str, rows: list[dict[str, Any]], stored: list[Write], removed: list[Write]
    ) -> None:
        """What was `stored` before the listing began is in it, unless somebody removes it; what was `removed`, not."""
        listed = [(f"{container}/{row['name']}", row["version_id"]) for row in rows if row["version_id"] != NULL]
        stamps = [(name, stamp_of_id(identifier)) for name, identifier in listed]

        def is_listed(version: Write) -> bool:
            return any(name == version.name and version.is_of(stamp) for name, stamp in stamps)

        for version in stored:
            if not is_listed(version) and not self._removals_of(version):
                self._clients.violation(f"{container} does not list version {version} of {version.name}")
        for version in removed:
            if is_listed(version):
                self._clients.violation(f"{container} lists version {version} of {version.name}, which was removed")

    def _judge_row(self, container: str, row: dict[str, Any]) -> None:
        model = self._model.objects.get(f"{container}/{row['name']}")
        stamp = "" if row["version_id"] == NULL else stamp_of_id(row["version_id"])
        if model is None or (stamp and not any(each.is_of(stamp) for each in model.writes)):
            self._clients.violation(f"{container} lists a version that was never written: {row}")

    def _pick(self, event: Event) -> tuple[str, Write] | None:
        """One of the versions that clients know of."""
        known = self._known.get(event.details["name"])
        return known[event.details["pick"] % len(known)] if known else None

    def _stored(self, event: Event, write: Write, answer: Answer | None, good: tuple[int, ...]) -> None:
        if self._clients.done(event, answer) in good and answer is not None and write.began:
            self._clients.stored(write)
            if VERSION_ID in answer.headers and answer.headers[VERSION_ID] != NULL:
                self._known.setdefault(write.name, []).append((answer.headers[VERSION_ID], write))

    def known(self) -> list[tuple[str, Write]]:
        """All ids that clients have been told, and what was written under them."""
        return [each for _, known in sorted(self._known.items()) for each in known]
