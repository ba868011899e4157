"""What clients may see: the reference model, a dictionary of objects with all writes that were ever begun.

Every write has the timestamp its proxy gave it, read off the wire. The newest write wins. A write whose outcome is
not known (no answer, or an error) may have taken place or not. So what an object must be in the end is: the newest
write that was acknowledged, or any newer one that may have taken place.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import md5
from typing import Final

MARK_LENGTH: Final = 24
OFFSET_DIGITS: Final = 12  # of 16: those that a proxy chooses


class Kind(enum.Enum):
    """Writes of an object."""

    PUT = "PUT"
    DELETE = "DELETE"
    POST = "POST"


class Outcome(enum.Enum):
    """What its client knows of a write."""

    UNKNOWN = "unknown"
    ACKNOWLEDGED = "acknowledged"


@dataclass(eq=False, slots=True)
class Write:
    """One attempt of a client. `timestamp` is "" as long as no server was asked for it: then it never happened.

    `at` is the true time when one was, which the clock of its proxy may not have known. A proxy may give a write a
    newer timestamp, and ask again: `earlier` has those before the last, of which something may have been stored.

    mode: "keep" for a version that is kept, "null" or "" of the plain line, None if it concerns neither. removes,
    restores: the timestamp of the version that it removes, or makes the current one again.
    """

    number: int
    kind: Kind
    name: str
    size: int = 0
    timestamp: str = ""
    earlier: tuple[str, ...] = ()
    at: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    delete_at: float | None = None
    content_type: str = ""
    copied_from: str = ""
    mode: str | None = None
    removes: str = ""
    restores: str = ""

    @property
    def began(self) -> bool:
        return bool(self.timestamp)

    @property
    def acknowledged(self) -> bool:
        return self.outcome is Outcome.ACKNOWLEDGED

    @property
    def is_certain(self) -> bool:
        """Whether it has taken place in the plain line: who removes a version leaves a marker there only if need be."""
        return self.acknowledged and not self.removes

    def is_of(self, stamp: str) -> bool:
        """Whether it was stored under this timestamp: what is moved to another policy has a slightly greater offset."""
        return any(_moment(stamp) == _moment(each) for each in (self.timestamp, *self.earlier))

    @property
    def etag(self) -> str:
        """Of its content; nothing is known of a copy's."""
        return md5(body_of(self.number, self.size), usedforsecurity=False).hexdigest()

    def __str__(self) -> str:
        return f"#{self.number} {self.kind.value} at {self.timestamp or 'no time'} {self.outcome.value}"


def _moment(stamp: str) -> tuple[str, str]:
    ticks, _, offset = stamp.partition("_")
    return ticks, offset[:OFFSET_DIGITS] or "0" * OFFSET_DIGITS


def body_of(number: int, size: int) -> bytes:
    """The content that a write gives an object: it says which write, all the way through."""
    mark = f"write {number:012d} ......".encode()[:MARK_LENGTH]
    return (mark * (size // MARK_LENGTH + 1))[: max(size, MARK_LENGTH)]


def metadata_of(number: int) -> dict[str, str]:
    """The metadata that a write brings: some text in another script, and sometimes more than an inode holds."""
    texts = {"Number": str(number), "Text": f"\u00fc\u4f60 {number}".encode().decode("latin-1")}
    if number % 10 == 3:
        texts |= {f"Filler-{each}": f"{number} {each} " + "x" * 230 for each in range(14)}
    return {f"X-Object-Meta-{name}": value for name, value in texts.items()}


def number_of(body: bytes) -> int | None:
    """Which write a whole body is of; None for what no write ever sent."""
    if len(body) < MARK_LENGTH or not body.startswith(b"write "):
        return None
    number = int(body[6:18])
    return number if body == body_of(number, len(body)) else None


@dataclass(eq=False)
class ObjectModel:
    """All writes to one object."""

    name: str
    writes: list[Write] = field(default_factory=list)

    def _begun(self, *kinds: Kind) -> list[Write]:
        return [write for write in self.writes if write.began and write.kind in kinds]

    def candidates(self) -> list[Write | None]:
        """The writes of its content, or deletions, that may stand in the end; None if it may never have been.

        Of an object with versions those of its plain line.
        """
        return _standing([write for write in self._begun(Kind.PUT, Kind.DELETE) if write.mode in ("", "null")])

    def kept(self) -> list[Write]:
        """The writes that made a version that is kept, or a delete marker."""
        return [write for write in self._begun(Kind.PUT, Kind.DELETE) if write.mode == "keep" and not write.restores]

    def removals_of(self, version: Write) -> list[Write]:
        return [write for write in self._begun(Kind.DELETE) if write.removes and version.is_of(write.removes)]

    def restored_since(self, version: Write) -> str:
        """When the version was made the current one again last, as far as clients know."""
        return max(
            (each.timestamp for each in self.writes if each.acknowledged and version.is_of(each.restores)), default=""
        )

    def metadata_candidates(self, data: Write) -> list[Write]:
        """The writes, given the content's, that may have set its metadata last: POSTs, or the content's own."""
        posts = [post for post in self._begun(Kind.POST) if post.timestamp > data.timestamp]
        return [data if each is None else each for each in _standing(posts)]

    def type_candidates(self, data: Write) -> set[str]:
        """The content types it may have."""
        posts = [p for p in self._begun(Kind.POST) if p.timestamp > data.timestamp and p.content_type]
        return {data.content_type if each is None else each.content_type for each in _standing(posts)}

    def changes_of_metadata(self, data: Write) -> Iterator[tuple[Write, Write]]:
        """Each write that may have set its metadata, with every POST after it."""
        posts = [post for post in self._begun(Kind.POST) if post.timestamp > data.timestamp]
        for before in (data, *posts):
            for after in posts:
                if after.timestamp > before.timestamp:
                    yield before, after

    def expires_after(self, data: Write) -> Iterator[float]:
        """The moments after its own at which older versions were to expire: expiry is a deletion of that moment."""
        moment = float(data.timestamp.partition("_")[0])
        for write in self._begun(Kind.PUT, Kind.POST):
            if write.timestamp < data.timestamp and write.delete_at is not None and write.delete_at > moment:
                yield write.delete_at

    def may_be(self, number: int) -> bool:
        """Whether this write ever gave it content."""
        return any(write.number == number and write.kind is Kind.PUT for write in self.writes)

    def find(self, number: int) -> Write | None:
        """The write of that number."""
        return next((write for write in self.writes if write.number == number), None)


def _standing(writes: list[Write]) -> list[Write | None]:
    newest = max((write for write in writes if write.is_certain), key=lambda each: each.timestamp, default=None)
    floor = newest.timestamp if newest is not None else ""
    return [newest, *(write for write in writes if not write.is_certain and write.timestamp > floor)]


class Model:
    """Everything the clients have done."""

    def __init__(self) -> None:
        self.objects: dict[str, ObjectModel] = {}  # by "container/object"
        self.containers: dict[str, ObjectModel] = {}  # which are put and deleted, too
        self.account_dropped = False  # whether somebody has tried to delete the other account
        self.writes: dict[int, Write] = {}

    def begin(self, number: int, kind: Kind, name: str, size: int = 0) -> Write:
        """A client is about to write."""
        write = self.writes[number] = Write(number, kind, name, size)
        self.objects.setdefault(name, ObjectModel(name)).writes.append(write)
        return write

    def begin_container(self, number: int, kind: Kind, name: str) -> Write:
        """A client is about to make or delete a container."""
        write = self.writes[number] = Write(number, kind, name)
        self.containers.setdefault(name, ObjectModel(name)).writes.append(write)
        return write

    def container_candidates(self, name: str) -> list[Write | None]:
        """The writes of a container that may stand in the end; None if it may never have been."""
        return self.containers[name].candidates() if name in self.containers else [None]

    def seen_on_wire(
        self, number: int, method: str, path: str, timestamp: str, now: float, mode: str = "", version: str = ""
    ) -> None:
        """A proxy asks a server to store, in some mode, to remove or to restore: now the write has its time."""
        write = self.writes.get(number)
        if write is None or write.kind.value != method or not path.endswith(write.name):
            return
        if version and write.kind is Kind.DELETE:
            if write.mode == "keep":
                return  # it removes what is left of an earlier attempt
            write.removes = version
            if write.mode:
                return  # what it has done to the plain line before has a time of its own
        else:
            write.mode, write.restores = mode, version
        if timestamp > write.timestamp:
            write.earlier += (write.timestamp,) if write.timestamp else ()
            write.timestamp, write.at = timestamp, now

    def of_container(self, container: str) -> Iterator[ObjectModel]:
        """The objects ever written in a container."""
        for name, each in sorted(self.objects.items()):
            if name.partition("/")[0] == container:
                yield each

    def wrote(self, name: str, body: bytes) -> str:
        """Why this cannot be the content of an object; "" if it can."""
        number = number_of(body)
        if number is None:
            return f"torn or foreign content of {len(body)} bytes: {body[:48]!r}"
        if number not in self.writes:
            return f"content of a write that never was: {number}"
        if not self.objects[name].may_be(number) and not self._copied(name, number, set()):
            return f"content of {self.writes[number]}, which is another object's"
        return ""

    def _copied(self, name: str, number: int, seen: set[str]) -> bool:
        """Whether the content may have come by copies."""
        seen.add(name)
        sources = {write.copied_from for write in self.objects[name].writes if write.copied_from}
        for source in sorted(sources - seen):
            if source in self.objects and (self.objects[source].may_be(number) or self._copied(source, number, seen)):
                return True
        return False
