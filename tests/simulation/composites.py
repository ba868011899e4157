"""What clients do with objects that stand for others: static and dynamic large objects, and links to other objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tests.simulation.findings import Findings
from tests.simulation.model import Kind, ObjectModel, Outcome, Write, body_of
from tests.simulation.network import Answer
from tests.simulation.node import Node
from tests.simulation.plan import CHECK_NUMBER, COMPOSITES, Event

if TYPE_CHECKING:
    from tests.simulation.clients import Clients

# Segments are named after the operation that wrote them, so none is ever written again.
STRIDE: Final = 10_000
CHANGED: Final = 9  # strides to the number of what a segment is overwritten with


class Composites:
    """Operations on them, and what was written. What the general model knows of an object is not known of these."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._model = clients.model
        self._objects: dict[str, ObjectModel] = {}
        self._contents: dict[int, bytes] = {}  # of a large object, by the number of its write
        self._targets: dict[int, str] = {}  # of a link
        self._static: set[int] = set()  # which large objects must be whole and unchanged, or not read at all
        self._broken: set[int] = set()  # static large objects of which a segment was written again
        self._dismantled: set[str] = set()  # names of large objects that were perhaps deleted with segments

    def _begin(self, number: int, kind: Kind, name: str) -> Write:
        write = self._model.writes[number] = Write(number, kind, name)
        self._objects.setdefault(name, ObjectModel(name)).writes.append(write)
        return write

    def _ended(self, event: Event, write: Write, answer: Answer | None, good: tuple[int, ...]) -> None:
        if self._clients.done(event, answer) in good and write.began:
            write.outcome = Outcome.ACKNOWLEDGED

    def m_put(self, event: Event, node: Node) -> None:
        """Write some segments, and a manifest of them."""
        name, prefix, contents = event.details["name"], f"{COMPOSITES}/g{event.number}.", []
        for count, size in enumerate(event.details["sizes"]):
            contents.append(body_of(event.number + (count + 1) * STRIDE, size))
            answer = self._clients.send(node, event.number, "PUT", f"{prefix}{count}", {}, contents[-1])
            if answer is None or answer.status != 201:
                self._clients.done(event, None)
                return
        write = self._begin(event.number, Kind.PUT, name)
        self._contents[event.number] = b"".join(contents)
        if event.details["static"]:
            self._static.add(event.number)
            segments = [{"path": f"/{prefix}{count}"} for count in range(len(contents))]
            body, headers, query = msgspec.json.encode(segments), {}, "multipart-manifest=put"
        else:
            body, headers, query = b"", {"X-Object-Manifest": prefix}, ""
        self._ended(event, write, self._clients.send(node, event.number, "PUT", name, headers, body, query), (201,))
        if event.details["static"] and event.details["changed"]:
            self._broken.add(event.number)
            other = body_of(event.number + CHANGED * STRIDE, len(contents[0]))
            self._clients.send(node, event.number, "PUT", f"{prefix}0", {}, other)
            self._judge(name, self._clients.send(node, event.number, "GET", name))

    def m_link(self, event: Event, node: Node) -> None:
        """Link to an object that may be there or not."""
        write = self._begin(event.number, Kind.PUT, event.details["name"])
        self._targets[event.number] = event.details["target"]
        headers = {"X-Symlink-Target": event.details["target"]}
        self._ended(event, write, self._clients.send(node, event.number, "PUT", write.name, headers), (201,))

    def m_delete(self, event: Event, node: Node) -> None:
        """Delete it, a static large object perhaps with its segments."""
        write = self._begin(event.number, Kind.DELETE, event.details["name"])
        query = ""
        if event.details["segments"]:
            self._dismantled.add(write.name)
            query = "multipart-manifest=delete"
        answer = self._clients.send(node, event.number, "DELETE", write.name, query=query)
        self._ended(event, write, answer, () if query else (204, 404))

    def m_get(self, event: Event, node: Node) -> None:
        """Read what it stands for."""
        answer = self._clients.send(node, event.number, "GET", event.details["name"])
        self._clients.done(event, answer)
        self._judge(event.details["name"], answer)

    def _judge(self, name: str, answer: Answer | None) -> None:
        if answer is not None and answer.status == 200 and (why := self._why_wrong(name, answer)):
            self._clients.violation(f"GET {name}: {why}")

    def _why_wrong(self, name: str, answer: Answer) -> str:
        if answer.failed_at or len(answer.body) != int(answer.headers.get("Content-Length", "-1")):
            return ""
        numbers = [write.number for write in self._objects[name].writes] if name in self._objects else []
        if any(self._may_be(number, answer.body) for number in numbers):
            return ""
        targets = [self._targets[number] for number in numbers if number in self._targets]
        whys = [self._model.wrote(each, answer.body) for each in targets if each in self._model.objects]
        return "" if "" in whys else f"no content of it: {len(answer.body)} bytes {answer.body[:48]!r} {whys}"

    def _may_be(self, number: int, body: bytes) -> bool:
        """Whether a large object may be this; of a dynamic one the listing may lack segments."""
        content = self._contents.get(number)
        if content is None or number in self._static:
            return body == content
        return body == content or _is_part(body, content)

    # In the end

    def check(self, findings: Findings) -> None:
        """All are what was written last, and read as the whole of what they stand for."""
        for name, model in sorted(self._objects.items()):
            candidates = model.candidates()
            answer = self._clients.send(self._clients.world.proxies[0], CHECK_NUMBER, "GET", name, {"X-Newest": "true"})
            if answer is None or not any(self._reads_as(each, name, answer, findings) for each in candidates):
                said = f"{answer.status} {answer.body[:48]!r}" if answer is not None else "no answer"
                findings.wrong(f"GET {name} answers {said}; expected one of {', '.join(map(str, candidates))}")

    def _reads_as(self, write: Write | None, name: str, answer: Answer, findings: Findings) -> bool:
        if write is None or write.kind is Kind.DELETE:
            return answer.status == 404
        if write.number in self._contents:
            if write.number in self._broken and answer.status != 200:
                return True
            return answer.body == self._contents[write.number] or name in self._dismantled
        name = self._targets[write.number]
        target = findings.objects.get(name)
        if answer.status == 404:
            return target is None or any(each.delete_at for each in self._model.objects[name].writes)
        if target is None:
            return False
        return answer.status == 200 and (bool(target.copied_from) or answer.headers["Etag"] == target.etag)


def _is_part(body: bytes, content: bytes) -> bool:
    """Whether whole segments of the content make up the body; each says all the way through whose it is."""
    return len(body) < len(content) and all(body[at : at + 24] in content for at in range(0, len(body), 24))
