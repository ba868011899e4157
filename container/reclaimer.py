"""The part reclaimer: deletes parts of uploads that no object names, and that will not be named any more.

What brings an upload to its notice is a note in the table `orphan` (`orphans`). A sweep of hidden containers notes what
nobody has noted, or whose notes were lost: parts are listed there until they are deleted. Whether parts may go is asked
of the servers of the object each time (`parts`), and not before `delay` has passed since the note: until then a
completion that was under way has ended, and so have reads of an object that was replaced. When any server that may know
does not answer, the note waits.

Each primary of a container works through the notes of its own replica, one after the other, so that those who come
later find nothing left; sweeps are made by another primary each time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Final

from objstore.config.container import PartReclaimerConfig
from objstore.container.orphans import (
    Glance,
    Orphan,
    forget_orphan,
    glance,
    next_upload,
    note_orphan,
    read_orphans,
)
from objstore.container.parts import Standing, UploadParts
from objstore.container.rows import ContainerSchema
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent, DatabaseRemoved
from objstore.db.location import DatabaseLocation, Walk
from objstore.db.reports import PassReport
from objstore.db.store import DatabaseStore
from objstore.db.summary import peek
from objstore.direct import Direct, account_headers
from objstore.errors import StoreError
from objstore.headers import Backend, Client
from objstore.paths import ResourcePath
from objstore.rate_limiter import RateLimiter
from objstore.ring.daemon_context import DaemonContext
from objstore.timestamps import Timestamp
from objstore.uploads import UploadName, begun_at, container_of, name_of

DATABASES_PER_STEP: Final = 20
# So much later than the one before each primary of a container turns to its notes.
TURN_SECONDS: Final = 300.0


class PartReclaimer:
    """A worker: each step looks at some databases, or deals with an upload."""

    name: str = "part-reclaimer"

    def __init__(self, config: PartReclaimerConfig, context: DaemonContext, timeout_seconds: float) -> None:
        """`timeout_seconds` is how long a storage server may take to answer."""
        cluster, devices, runtime = context.cluster, context.devices, context.runtime
        self._config = config
        self._devices = devices
        self._rings = context.rings
        self._runtime = runtime
        self._is_mine = context.is_mine
        self._direct = Direct(context.transport, cluster.hasher, timeout_seconds)
        self._parts = UploadParts(context, self._direct, config.concurrency)
        self._store = DatabaseStore(ContainerSchema(cluster.limits), cluster, devices, runtime, open_max=1)
        self._report = PassReport(self.name, context.recon, runtime, "uploads")
        self._rate = RateLimiter(config.databases_per_second, runtime.clock)
        self._walk: Walk | None = None
        self._work: Iterator[None] = iter(())
        self._swept = -1  # the interval in which this process swept last

    def step(self) -> Step:
        """The next piece; IDLE at the end of a pass."""
        if next(self._work, self) is None:
            return Step.BUSY
        if self._walk is None:
            self._report.begin()
            self._walk = Walk(self._devices, ContainerSchema.folder, self._runtime)
            self._interval = int(self._runtime.clock.now() // self._config.sweep_interval)
        locations = self._walk.some(DATABASES_PER_STEP)
        if not locations:
            self._walk, self._swept = None, self._interval
            self._report.end()
            return Step.IDLE
        self._rate.acquire(len(locations))
        self._work = self._look_after(locations)
        self._report.progress(self._walk.done, self._walk.total)
        return Step.BUSY

    def _look_after(self, locations: list[DatabaseLocation]) -> Iterator[None]:
        """A piece of work at a time."""
        for location in locations:
            try:
                found = self._glance(location)
                turn, count = self._turn(location, found.path)
                if found.has_orphans:
                    yield from self._deal_with_notes(location, found.path, turn)
                owner = container_of(found.path)
                if owner is not None and self._interval != self._swept and turn == self._interval % count:
                    yield from self._sweep(location, found, owner)
            except (DatabaseAbsent, DatabaseRemoved):
                continue
            except (StoreError, OSError) as error:
                self._report.count("failed")
                self._runtime.log.warning("parts not reclaimed", file=location.file, reason=str(error))

    def _glance(self, location: DatabaseLocation) -> Glance:
        found: Glance | None = self._store.threads_of(location).call(peek, location.file, glance)
        if found is not None:
            return found
        with self._store.opened(location) as database:
            return database.read(glance)

    def _turn(self, location: DatabaseLocation, path: ResourcePath) -> tuple[int, int]:
        """Which of the primaries of its container this device is, and how many there are; as many for a handoff."""
        _, primaries = self._direct.primaries(self._rings.container, path)
        for number, node in enumerate(primaries):
            if node.device == location.device_name and self._is_mine(node):
                return number, len(primaries)
        return len(primaries), len(primaries)

    def _deal_with_notes(self, location: DatabaseLocation, path: ResourcePath, turn: int) -> Iterator[None]:
        before, after = self._before(turn), ""
        while True:
            with self._store.opened(location) as database:
                page = database.read(partial(read_orphans, after=after, before=before))
            if not page:
                return
            for orphan in page:
                after = orphan.upload
                yield from self._deal_with(location, path, orphan)
                yield

    def _deal_with(self, location: DatabaseLocation, path: ResourcePath, orphan: Orphan) -> Iterator[None]:
        """Reclaim what is free of a noted upload, and forget the note when there is nothing left to be done."""
        hidden_owner = container_of(path)
        owner = hidden_owner or path
        name = UploadName(orphan.name, orphan.upload) if hidden_owner is None else name_of(orphan.name)
        if name is None:
            self._change(location, partial(forget_orphan, orphan=orphan))
            return
        standing = self._parts.standing(owner, name)
        if standing is None:
            self._report.count("unreachable")
        elif standing.has_record:
            self._report.count("open")
            if hidden_owner is None:
                self._parts.end(owner, name)  # its object was there, so it was completed
            elif self._is_old(orphan):
                self._change(location, partial(forget_orphan, orphan=orphan))
        elif standing.ended_at >= self._before(0):
            self._report.count("waiting")
        else:
            done = yield from self._reclaim(owner, name, standing)
            # A server that has not heard yet what replaced the object names the parts still.
            if done and (hidden_owner is not None or not standing.manifests or self._is_old(orphan)):
                self._change(location, partial(forget_orphan, orphan=orphan))

    def _before(self, turn: int) -> str:
        """What was before this moment is dealt with by the primary whose turn it is; in the internal form."""
        due = self._runtime.clock.now() - self._config.delay - turn * TURN_SECONDS
        return Timestamp.from_seconds(max(due, 0.0)).internal

    def _is_old(self, orphan: Orphan) -> bool:
        age = self._runtime.clock.now() - Timestamp.parse(orphan.moment).seconds
        return age > self._config.reclaim_age

    def _reclaim(self, owner: ResourcePath, name: UploadName, standing: Standing) -> Generator[None, None, bool]:
        """Delete the parts that nobody names; whether all of them are."""
        done, parts = True, 0
        for found in self._parts.unnamed(owner, name, standing.manifests):
            if found is not None and self._parts.delete(found):
                parts += len(found.paths)
            else:
                done = False
            yield
        self._report.count("parts", parts)
        self._report.count("failed" if not done else "named" if standing.manifests else "reclaimed")
        return done

    def _change(self, location: DatabaseLocation, operation: Callable[[sqlite3.Connection], None]) -> None:
        with self._store.opened(location) as database:
            database.write(operation)

    def _sweep(self, location: DatabaseLocation, found: Glance, owner: ResourcePath) -> Iterator[None]:
        """Look at all uploads of a hidden container, and remove it when neither they nor its container are there."""
        replies = self._direct.send(self._rings.container, "HEAD", owner, {})
        gone = set(replies.statuses) == {404}
        deleted_at = max((reply.headers.get(Backend.DELETE_TIMESTAMP, "") for reply in replies.replies), default="")
        is_empty, marker = True, ""
        while (step := self._next_upload(location, marker)) is not None:
            name, marker = step
            is_empty = False
            if name is not None:
                self._look_at(location, owner, name, gone or self._is_of_earlier_life(name, deleted_at))
            yield
        if is_empty and gone and not found.is_deleted and not found.has_orphans:
            self._delete_container(found.path)

    def _next_upload(self, location: DatabaseLocation, marker: str) -> tuple[UploadName | None, str] | None:
        with self._store.opened(location) as database:
            return database.read(partial(next_upload, marker=marker))

    def _is_of_earlier_life(self, name: UploadName, deleted_at: str) -> bool:
        """Whether its container was deleted since, beyond doubt: clocks may differ."""
        begun = begun_at(name.upload).seconds + self._config.delay
        return deleted_at != "" and Timestamp.from_seconds(begun).internal < deleted_at

    def _look_at(self, location: DatabaseLocation, owner: ResourcePath, name: UploadName, is_over: bool) -> None:
        """End an upload that is over, note one that has parts which nobody names."""
        standing = self._parts.standing(owner, name)
        if standing is None:
            self._report.count("unreachable")
        elif standing.has_record:
            # With a manifest it is a completion that did not come to its end.
            if is_over or standing.manifests:
                self._parts.end(owner, name)
            self._report.count("open")
        elif any(found is not None and found.paths for found in self._parts.unnamed(owner, name, standing.manifests)):
            now = self._runtime.clock.timestamp().internal
            self._change(location, partial(note_orphan, orphan=Orphan(name.upload, name.record, now)))
            self._report.count("noted")

    def _delete_container(self, hidden: ResourcePath) -> None:
        """Servers that know of anything in it refuse."""
        headers = {
            Client.TIMESTAMP: self._runtime.clock.timestamp().internal,
            Backend.ALLOW_RESERVED_NAMES: "true",
            **account_headers(*self._direct.primaries(self._rings.account, hidden.account_path)),
        }
        self._direct.send(self._rings.container, "DELETE", hidden, headers)
