"""Floors: what a device has promised about objects of policies with strong consistency.

A proxy that decides a conditional write asks a majority of the object's devices to prepare it at a timestamp. Each
promises to take no older write of that object any more, and says what it has: so nothing can be stored on a majority
between that answer and the write, but by a proxy that has prepared a later one. The timestamp promised is the floor.

Floors are kept by slots: objects whose hashes fall into one slot share its floor, at no cost but that of stamping a
write anew. The table is a file of the device that all its processes share. A slot is locked from the look at what is
stored until a write is durable; so who holds a slot, or has waited until it was free, sees durable names only.

Floors survive processes, not the machine: pages of the table are not flushed. The header has a limit that is flushed,
and above every floor that was ever given: after a start of the machine it is the floor of all slots.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Final, Self

from msgspec import Struct

from objstore.http.errors import HttpError
from objstore.system import concurrency, locks
from objstore.system.clock import Clock
from objstore.system.concurrency import Semaphore, WaitTimeout
from objstore.system.files import fsync_directory
from objstore.system.threads import ThreadGroup
from objstore.timestamps import TICKS_PER_SECOND, Timestamp

FILE_NAME: Final = "agreement"
SLOTS: Final = 4096
# Objects of a slot that are known by themselves: replication brings older versions of the others.
PREPARED_MAX: Final = 24
# A write is agreed on only while its preparation is so young...
AGREED_SECONDS: Final = 30.0
# ... and older versions do not come by replication for longer, so that nothing that could be read is passed over.
DEFERRED_SECONDS: Final = 120.0
# A write of which a proxy asks whether it was ever stored here was sent no longer ago.
PUSHED_SECONDS: Final = 120.0
# The limit is moved so far ahead of the floors, with one flush.
AHEAD_TICKS: Final = 10 * TICKS_PER_SECOND
LOCK_SECONDS: Final = 15.0
RETRY_SECONDS: Final = 0.001
RETRY_SECONDS_MAX: Final = 0.02

_MAGIC: Final = b"OBJAGR1\n"
_HEADER: Final = struct.Struct("<8s64s40s")
_HEADER_BYTES: Final = 4096
# Floor; what was pushed last, and when; when an object was forgotten that was prepared then. Objects follow.
_SLOT: Final = struct.Struct("<40s40sdd")
FLOOR_BYTES: Final = 40
_PREPARED: Final = struct.Struct("<Qd")
_SLOT_BYTES: Final = 512
_FIRST_SLOT: Final = _HEADER_BYTES
assert _SLOT.size + PREPARED_MAX * _PREPARED.size <= _SLOT_BYTES
_NEVER: Final = -1e18


class SlotContent(Struct):
    """What a slot says. Timestamps are in their internal form, "" for none; moments are in monotonic time.

    floor: no write before it is taken. pushed: the newest version that came from another device, at `pushed_at`.
    prepared: when objects were prepared last, by the first half of their hashes; `forgotten_at`: the last moment at
    which one was that is no longer known.
    """

    floor: str = ""
    pushed: str = ""
    pushed_at: float = _NEVER
    forgotten_at: float = _NEVER
    prepared: dict[int, float] = {}

    @classmethod
    def decoded(cls, content: bytes) -> SlotContent:
        if not content.strip(b"\0"):
            return cls(prepared={})
        floor, pushed, pushed_at, forgotten_at = _SLOT.unpack_from(content)
        prepared = dict(_PREPARED.iter_unpack(content[_SLOT.size : _SLOT.size + PREPARED_MAX * _PREPARED.size]))
        prepared.pop(0, None)
        return cls(_text(floor), _text(pushed), pushed_at, forgotten_at, prepared)

    def encoded(self) -> bytes:
        head = _SLOT.pack(self.floor.encode(), self.pushed.encode(), self.pushed_at, self.forgotten_at)
        objects = b"".join(_PREPARED.pack(*each) for each in self.prepared.items())
        return (head + objects).ljust(_SLOT_BYTES, b"\0")


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode()


class HeldSlot:
    """The slot of an object, while no other write of it is under way: that is, while it is entered."""

    __slots__ = ("_bytes", "_decoded", "_descriptor", "_index", "_key", "_table", "floor")

    def __init__(self, table: AgreementTable, digest: str) -> None:
        self._table = table
        self._key = int(digest[:16], 16) or 1
        self._index = self._key % SLOTS
        self._decoded: SlotContent | None = None

    def __enter__(self) -> Self:
        """Wait for it. Raises HttpError 503, OSError."""
        self._descriptor = self._table.acquire(self._index)
        try:
            self._bytes = os.pread(self._descriptor, _SLOT_BYTES, _FIRST_SLOT + self._index * _SLOT_BYTES)
            self.floor = (
                _text(self._bytes[:FLOOR_BYTES]) if self._bytes[:1] > b"\0" else ""
            )  # plain writes need no more
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._table.release(self._index, self._descriptor)

    @property
    def _content(self) -> SlotContent:
        if self._decoded is None:
            self._decoded = SlotContent.decoded(self._bytes)
        return self._decoded

    @property
    def pushed(self) -> str:
        """The newest version that has lately come from another device; "" if none has."""
        recent = self._table.clock.monotonic() - self._content.pushed_at < PUSHED_SECONDS
        return self._content.pushed if recent else ""

    def takes(self, timestamp: str, agreed: bool) -> bool:
        """Whether a write is not before the floor; one that is agreed on must have been prepared, and not long ago."""
        if not agreed:
            return timestamp > self.floor
        return timestamp == self.floor and self._age < AGREED_SECONDS

    def defers(self, timestamp: str, agreed: str) -> bool:
        """Whether a version from another device is not stored yet: it is older than what was prepared lately.

        Not if it is sent by who has prepared that, as `agreed` says.
        """
        return timestamp < self.floor != agreed and self._age < DEFERRED_SECONDS

    @property
    def _age(self) -> float:
        """How long ago the object was prepared."""
        content = self._content
        return self._table.clock.monotonic() - content.prepared.get(self._key, content.forgotten_at)

    def promise(self, timestamp: str) -> None:
        """Take no write before it from now on. Raises OSError."""
        self._table.raise_limit(timestamp)
        content, now = self._content, self._table.clock.monotonic()
        content.floor = self.floor = timestamp
        content.prepared.pop(self._key, None)
        if len(content.prepared) >= PREPARED_MAX:
            oldest = min(content.prepared, key=content.prepared.__getitem__)
            content.forgotten_at = max(content.forgotten_at, content.prepared.pop(oldest))
        content.prepared[self._key] = now
        self._table.write(self._index, content)

    def note_push(self, timestamp: str) -> None:
        """A version is about to be stored that came from another device."""
        self._content.pushed = max(self.pushed, timestamp)
        self._content.pushed_at = self._table.clock.monotonic()
        self._table.write(self._index, self._content)


class AgreementTable:
    """The floors of one device, `device` being its folder. Each process has its own; they share the file."""

    def __init__(self, device: str, clock: Clock, threads: ThreadGroup) -> None:
        self.clock: Final = clock
        self._device = device
        self._threads = threads
        self._opening = Semaphore(1)
        self._hub: object = None
        self._descriptor = -1
        self._limit = ""
        self._users: dict[int, int] = {}  # how many greenlets of this process hold a slot, or wait for it
        self._turns: dict[int, Semaphore] = {}  # by which those that wait are called

    def held(self, digest: str) -> HeldSlot:
        """The slot of an object, by its hash in hex, for this greenlet alone once it is entered."""
        return HeldSlot(self, digest)

    def acquire(self, index: int) -> int:
        """Wait until no other write holds the slot; the descriptor by which it is locked. Raises HttpError 503."""
        descriptor, start = self._opened(), _FIRST_SLOT + index * _SLOT_BYTES
        users = self._users.get(index, 0)
        self._users[index] = users + 1
        try:
            if users:
                self._turns.setdefault(index, Semaphore(0)).acquire(LOCK_SECONDS)
        except BaseException as error:
            self._leave(index)
            if isinstance(error, WaitTimeout):
                raise HttpError(503, "Other writes of the object take too long") from None
            raise
        try:
            if not locks.try_lock_range(descriptor, start):
                self._lock(descriptor, start, self.clock.monotonic() + LOCK_SECONDS)
        except BaseException:
            self._hand_on(index)
            raise
        return descriptor

    def release(self, index: int, descriptor: int) -> None:
        """Let the next one have the slot."""
        try:
            if descriptor == self._descriptor:
                locks.unlock_range(descriptor, _FIRST_SLOT + index * _SLOT_BYTES)
        finally:
            self._hand_on(index)

    def _hand_on(self, index: int) -> None:
        if self._users[index] > 1:
            self._turns[index].release()
        self._leave(index)

    def _leave(self, index: int) -> None:
        self._users[index] -= 1
        if not self._users[index]:
            del self._users[index]
            self._turns.pop(index, None)

    def wait_until_durable(self, digest: str) -> None:
        """Return once all writes of an object are durable that could be seen before. Raises HttpError 503, OSError."""
        descriptor, index = self._opened(), (int(digest[:16], 16) or 1) % SLOTS
        if index in self._users or locks.is_range_locked(descriptor, _FIRST_SLOT + index * _SLOT_BYTES):
            with self.held(digest):
                pass

    def _lock(self, descriptor: int, start: int, deadline: float) -> None:
        """Lock a byte against other processes without holding up this one. Raises HttpError 503."""
        pause = RETRY_SECONDS
        while not locks.try_lock_range(descriptor, start):
            if self.clock.monotonic() >= deadline:
                raise HttpError(503, "Writes of other processes take too long")
            concurrency.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)

    def write(self, index: int, content: SlotContent) -> None:
        _write_at(self._descriptor, content.encoded(), _FIRST_SLOT + index * _SLOT_BYTES)

    def raise_limit(self, floor: str) -> None:
        """See to it that the durable limit is above a floor that will be given."""
        if floor < self._limit:
            return
        with self._opening:  # one at a time: the others find it raised
            if floor >= self._limit:
                self._with_header_locked(self._raised, floor)

    def _raised(self, floor: str) -> None:
        _, limit = self._header()
        if floor >= limit:
            limit = Timestamp(Timestamp.parse(floor).ticks + AHEAD_TICKS).internal
            self._write_header(limit)
            os.fsync(self._descriptor)
        self._limit = limit

    def _opened(self) -> int:
        if self._hub is not concurrency.current_hub():  # the first call, or the first one after a fork
            with self._opening:
                if self._hub is not concurrency.current_hub():
                    self._open()
        return self._descriptor

    def _open(self) -> None:
        path = f"{self._device}/{FILE_NAME}"
        self._descriptor = self._threads.of(self._device).call(
            os.open, path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._with_header_locked(self._begin)
        self._hub = concurrency.current_hub()

    def _with_header_locked(self, change: object, *arguments: object) -> None:
        """Change the header on a thread of the device, while no other process does."""
        self._lock(self._descriptor, 0, self.clock.monotonic() + LOCK_SECONDS)
        try:
            self._threads.of(self._device).call(change, *arguments)  # type: ignore[arg-type]
        finally:
            locks.unlock_range(self._descriptor, 0)

    def _begin(self) -> None:
        """After a start of the machine no floor is known but the limit of all."""
        boot, self._limit = self._header()
        if boot == self.clock.boot_id():
            return
        if boot:  # the header comes last: who finds it as it was does all this again
            now = self.clock.monotonic()
            slot = SlotContent(self._limit, self._limit, now, now, {}).encoded()
            _write_at(self._descriptor, slot * SLOTS, _FIRST_SLOT)
        self._write_header(self._limit)
        os.fsync(self._descriptor)
        fsync_directory(self._device)

    def _header(self) -> tuple[str, str]:
        """Of which start of the machine the floors are, and the limit; both "" in a file that is new."""
        content = os.pread(self._descriptor, _HEADER.size, 0)
        if not content.strip(b"\0"):
            return "", ""
        magic, boot, limit = _HEADER.unpack(content)
        if magic != _MAGIC:
            raise OSError(errno.EUCLEAN, f"not a table of floors: {self._device}/{FILE_NAME}")
        return _text(boot), _text(limit)

    def _write_header(self, limit: str) -> None:
        _write_at(self._descriptor, _HEADER.pack(_MAGIC, self.clock.boot_id().encode(), limit.encode()), 0)

    def close(self) -> None:
        """The device goes out of service."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._hub = -1, None


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
