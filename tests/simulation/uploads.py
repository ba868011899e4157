"""What clients do with uploads in parts, and what of them must be there in the end: all that is named, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from tests.simulation.copy_inventory import CopyInventory
from tests.simulation.findings import Findings
from tests.simulation.hub import spawn_for
from tests.simulation.model import Kind, ObjectModel, Outcome, Write, body_of
from tests.simulation.network import Answer
from tests.simulation.node import Node
from tests.simulation.plan import CHECK_NUMBER, UPLOADS, Event
from tests.simulation.services import ACCOUNT, UPLOADS_PORT
from tests.simulation.stored_forms import read_metadata, whole_name

if TYPE_CHECKING:
    from tests.simulation.clients import Clients

STRIDE: Final = 10_000  # between the numbers of what the parts of an upload hold
AGAIN: Final = 9  # strides to that of a part which is sent again
HIDDEN: Final = f"/{ACCOUNT}/\0uploads\0"  # followed by the container, and the kind of what is hidden
# While clocks differ by more, what is over is not yet over for all of them in the end.
SPREAD_SECONDS_MAX: Final = 1500.0


class Uploads:
    """Operations on them, and what was written: the general model knows nothing of these objects."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._objects: dict[str, ObjectModel] = {}
        self._contents: dict[int, bytes] = {}  # by the number of the write
        self._open: dict[tuple[str, str], int] = {}  # uploads that nobody ends, and how many parts of each are stored

    def _ask(self, event: Event, node: Node, asked: str, body: bytes = b"") -> Answer | None:
        return self._clients.send(node, event.number, "PUT", event.details["name"], {}, body, asked, port=UPLOADS_PORT)

    def _begin(self, event: Event, kind: Kind, content: bytes) -> Write:
        name = event.details["name"]
        write = self._clients.model.writes[event.number] = Write(event.number, kind, name)
        self._objects.setdefault(name, ObjectModel(name)).writes.append(write)
        self._contents[event.number] = content
        return write

    def _ended(self, event: Event, write: Write, answer: Answer | None, good: tuple[int, ...]) -> None:
        if self._clients.done(event, answer) in good and write.began:
            write.outcome = Outcome.ACKNOWLEDGED

    def u_put(self, event: Event, node: Node) -> None:
        """Begin an upload, send its parts, one of them perhaps again, and end it in one way or another."""
        answer, end = self._ask(event, node, "begin"), event.details["end"]
        upload = "" if answer is None else answer.body.decode()
        chosen, contents = [], []
        for count, size in enumerate(event.details["sizes"], 1):
            contents.append(body_of(event.number + count * STRIDE, size))
            if event.details["again"] == count:
                self._ask(event, node, f"part&{upload}&{count}", body_of(event.number + AGAIN * STRIDE, size))
            answer = self._ask(event, node, f"part&{upload}&{count}", contents[-1]) if upload else None
            if answer is None or answer.status != 200:
                self._clients.done(event, answer)
                return
            chosen.append(f"{count}:{answer.body.decode()}")
        if end == "leave":
            container, _, name = event.details["name"].partition("/")
            self._open[container, f"{name}\0{upload}"] = len(chosen)
            self._clients.done(event, answer)
            return
        if end in ("abort", "both"):
            spawn_for(None, None, self._ask, event, node, f"abort&{upload}")
        if end == "abort":
            return
        write = self._begin(event, Kind.PUT, b"".join(contents))
        asked = "&".join(("complete", upload, *chosen))
        self._ended(event, write, self._ask(event, node, asked), (200,))
        if end == "again":
            self._ended(event, write, self._ask(event, node, asked), (200,))

    def u_over(self, event: Event, node: Node) -> None:
        """Put an object of its own bytes in the place."""
        content = body_of(event.number, 24)
        write = self._begin(event, Kind.PUT, content)
        self._ended(event, write, self._clients.send(node, event.number, "PUT", write.name, {}, content), (201,))

    def u_delete(self, event: Event, node: Node) -> None:
        write = self._begin(event, Kind.DELETE, b"")
        self._ended(event, write, self._clients.send(node, event.number, "DELETE", write.name), (204, 404))

    def u_get(self, event: Event, node: Node) -> None:
        """Read it: what comes whole was once written so."""
        name = event.details["name"]
        answer = self._clients.send(node, event.number, "GET", name)
        if self._clients.done(event, answer) != 200 or answer is None or answer.failed_at:
            return
        if len(answer.body) != int(answer.headers.get("Content-Length", "-1")):
            return
        numbers = [write.number for write in self._objects[name].writes] if name in self._objects else []
        if answer.body not in [self._contents[number] for number in numbers]:
            self._clients.violation(f"GET {name}: no content of it: {len(answer.body)} bytes {answer.body[:48]!r}")

    # In the end

    def check(self, findings: Findings) -> None:
        """Every object reads as what was written last; no part is there that belongs to nothing."""
        for name, model in sorted(self._objects.items()):
            candidates = model.candidates()
            answer = self._clients.send(self._clients.world.proxies[0], CHECK_NUMBER, "GET", name, {"X-Newest": "true"})
            if answer is None or not any(self._reads_as(each, answer) for each in candidates):
                said = f"{answer.status} {answer.body[:48]!r}" if answer is not None else "no answer"
                findings.wrong(f"GET {name} answers {said}; expected one of {', '.join(map(str, candidates))}")
        parts, records, named = self._stored()
        for upload, count in sorted(self._open.items()):
            if upload not in records:
                findings.wrong(f"the record of an open upload is gone: {upload!r}")
            for number in range(1, count + 1):
                container, name = upload
                if not any(part.startswith(f"{HIDDEN}{container}/part/{name}\0{number:05d}\0") for part in parts):
                    findings.wrong(f"part {number} of an open upload is gone: {upload!r}")
        if self._clients.world.spread_seconds <= SPREAD_SECONDS_MAX:
            left = (each for each in parts - named if _upload_of(each) not in records)
            for part in sorted(left):
                findings.wrong(f"a part that belongs to nothing is still there: {part}")

    def _reads_as(self, write: Write | None, answer: Answer) -> bool:
        if write is None or write.kind is Kind.DELETE:
            return answer.status == 404
        return answer.status == 200 and not answer.failed_at and answer.body == self._contents[write.number]

    def _stored(self) -> tuple[set[str], set[tuple[str, str]], set[str]]:
        """The parts that are stored, the uploads that have a record, and the parts that some object names."""
        parts, records, named = set(), set(), set()
        inventory = CopyInventory(self._clients.world)
        everything = inventory.objects()
        for digest, copies in everything.items():
            for copy in copies:
                data = copy.versions.data
                found = read_metadata(f"{copy.directory}/{data.name}") if data is not None else None
                if data is None or found is None:
                    continue
                metadata, _ = found
                if metadata.name.startswith(HIDDEN):
                    container, kind, name = metadata.name.removeprefix(HIDDEN).split("/", 2)
                    if kind == "part":
                        parts.add(metadata.name)
                    elif kind == "record":
                        records.add((container, name))
                elif metadata.name.split("/")[2] in UPLOADS and metadata.sysmeta:
                    body = inventory.good_body(digest, whole_name(data.name), everything)
                    if body is not None:
                        named |= {f"/{ACCOUNT}{part['name']}" for part in msgspec.json.decode(body[1])}
        return parts, records, named


def _upload_of(part: str) -> tuple[str, str]:
    """The container, and the object and the id, of the upload that a part is of."""
    container, _, name = part.removeprefix(HIDDEN).split("/", 2)
    return container, name.rsplit("\0", 2)[0]
