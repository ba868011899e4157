"""The replicator of databases: a worker that brings all replicas of each database to the same state, pass after pass.

It looks at some databases at a time and asks each peer about all of them in one request; most have not changed, and are
done with that. The rest are synced one by one. See `removal` on how replicas in the wrong place are given up, and
`reclaiming` on what is dropped in the end.
"""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Final, Generic

from objstore.cluster import Cluster
from objstore.config.databases import DatabaseReplicatorConfig
from objstore.contact_record import read_contact_record, write_contact_record
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent, DatabaseBusy, DatabaseCorrupt, DatabaseFailed, DatabaseRemoved
from objstore.db.description import Description, Row
from objstore.db.location import Location, Place
from objstore.db.messages import Answer, Question
from objstore.db.peers import PeerFailed, Peers
from objstore.db.reclaiming import Reclaimer
from objstore.db.removal import Remover, same_as
from objstore.db.reports import PassReport
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary, peek_all, read_summary
from objstore.db.syncing import Outcome, Subject, Sync
from objstore.db.walk import Walk
from objstore.devices import Device
from objstore.direct import Placement
from objstore.http.transport import Transport
from objstore.mounts import DeviceRoot
from objstore.paths import ResourcePath
from objstore.recon import Recon
from objstore.runtime import Runtime
from objstore.system import concurrency, files
from objstore.system.concurrency import Semaphore, Task
from objstore.system.locks import LockTimeout
from objstore.timestamps import Timestamp

DATABASES_PER_STEP: Final = 50
# Tombstones are looked through so much more seldom than they may be dropped.
RECLAIM_LOOKS: Final = 168
LOOKS_REMEMBERED_MAX: Final = 20_000  # of databases that have tombstones; beyond this all are looked through again

Answers = Mapping[Device, Answer | PeerFailed]
TROUBLES: Final = (DatabaseBusy, DatabaseCorrupt, DatabaseFailed, LockTimeout, OSError, PeerFailed)


class DatabaseReplicator(Generic[Row]):
    """A worker: each step looks after up to DATABASES_PER_STEP databases."""

    name: str
    databases_per_step: Final = DATABASES_PER_STEP

    def __init__(
        self,
        config: DatabaseReplicatorConfig,
        description: Description[Row],
        cluster: Cluster,
        devices: DeviceRoot,
        ring: Callable[[], Placement],
        transport: Transport,
        runtime: Runtime,
        recon: Recon,
        is_mine: Callable[[Device], bool],
    ) -> None:
        self.config = config
        self.runtime = runtime
        self.store = DatabaseStore(description, cluster, devices, runtime, open_max=config.concurrency)
        self._description = description
        self._devices = devices
        self._ring = ring
        self._is_mine = is_mine
        self._peers = Peers(description, transport, config.node_timeout)
        self._sync = Sync(config, description, self.store, devices, self._peers, runtime)
        self._remover = Remover(self.store, runtime)
        self._reclaimer = Reclaimer(description, config.reclaim_age)
        self._report = PassReport(self.name, recon, runtime)
        self._at_once = Semaphore(config.concurrency)
        self._walk: Walk | None = None
        self._next_looks: dict[str, float] = {}
        self._away: dict[str, float] = {}  # devices that come back after so long that it may be obsolete; since when
        self._cut_off: set[str] = set()  # devices with a database of which in this pass not one peer answered

    @abstractmethod
    def settled(self, connection: sqlite3.Connection) -> bool:
        """Whether a deleted one may be forgotten: whoever had to hear of the deletion has."""

    @abstractmethod
    def totals_changed(self, place: Place) -> None:
        """The totals of a database have just changed."""

    @abstractmethod
    def synced(self, subject: Subject) -> None:
        """A primary's replica was compared with those peers that could be reached, and synced."""

    def step(self) -> Step:
        """The next few databases; IDLE at the end of a pass."""
        if self._walk is None:
            self._begin()
        assert self._walk is not None
        places = self.runtime.threads.call(self._walk.some, DATABASES_PER_STEP)
        if not places:
            self._end(self._walk)
            return Step.IDLE
        subjects = self._subjects(places)
        answers = self._ask_peers(subjects)
        tasks: list[Task[None]] = [
            concurrency.spawn(self._look_after, subject, answers[number]) for number, subject in enumerate(subjects)
        ]
        for task in tasks:
            task.wait()
        self._report.progress(self._walk.done, self._walk.total)
        return Step.BUSY

    def _begin(self) -> None:
        self._report.begin()
        self._cut_off.clear()
        call = self.runtime.threads.call
        walk = self._walk = call(Walk, self._devices, self._description.folder, self.runtime)
        oldest = self.runtime.clock.now() - self.config.reclaim_age
        for root in walk.roots:
            note = call(read_contact_record, root, self._description.folder)
            if note is not None and note.last < oldest:
                self._away[root] = note.last
            call(self._remover.clean, root, self.runtime.clock.now())

    def _end(self, walk: Walk) -> None:
        """A device that was away stays so until a pass in which some peer has answered for each of its databases.

        One, not all: a dead disk elsewhere must not make the others seem to be away. Primaries forget nothing while one
        of them does not answer.
        """
        self._walk = None
        for root in walk.roots:
            if root in self._cut_off:
                continue
            self._away.pop(root, None)
            try:
                self.runtime.threads.call(
                    write_contact_record,
                    root,
                    self._description.folder,
                    self.runtime.clock.now(),
                    self.config.reclaim_age,
                )
            except OSError as error:
                self.runtime.log.warning("device cannot be written to", device=root, reason=str(error))
        self._report.end()

    def _subjects(self, places: Sequence[Place]) -> list[Subject]:
        """Those of them that can be read, with what the ring says of them."""
        subjects = []
        for place, found in zip(
            places, self.runtime.threads.call(peek_all, [place.file for place in places]), strict=True
        ):
            try:
                subjects.append(self._subject(place, found))
            except DatabaseRemoved:
                self._finish_removal(place)
            except DatabaseAbsent:
                continue
            except TROUBLES as error:
                self._failed(place, error)
        return subjects

    def _subject(self, place: Place, found: Summary | Exception | None) -> Subject:
        if isinstance(found, Exception):
            raise found
        if found is None:
            with self.store.opened(place) as database:
                found = database.read(read_summary)
                database.flush()
        ring = self._ring()
        device = place.root.rpartition("/")[2]
        partition = ring.partition_of(bytes.fromhex(place.hash))
        primaries = ring.primaries(partition)
        mine = next((node for node in primaries if node.device == device and self._is_mine(node)), None)
        if int(place.partition) != partition:
            mine = None
        path = ResourcePath(found.account, found.container)
        location = Location(place.root, place.folder, place.partition, place.hash, device, path)
        return Subject(location, partition, primaries, mine, found)

    def _ask_peers(self, subjects: Sequence[Subject]) -> list[dict[Device, Answer | PeerFailed]]:
        """What each peer of each subject says, with one request to a peer for all that concern it."""
        answers: list[dict[Device, Answer | PeerFailed]] = [{} for _ in subjects]
        wanted: dict[Device, list[int]] = {}
        for number, subject in enumerate(subjects):
            for node in subject.peers:
                wanted.setdefault(node, []).append(number)

        def ask(node: Device, numbers: list[int]) -> None:
            questions = [_question(subjects[number]) for number in numbers]
            try:
                found: Sequence[Answer | PeerFailed] = self._peers.compare(node, questions)
            except PeerFailed as failure:
                found = [failure] * len(numbers)
            for number, answer in zip(numbers, found, strict=True):
                answers[number][node] = answer

        tasks: list[Task[None]] = [concurrency.spawn(ask, node, numbers) for node, numbers in wanted.items()]
        for task in tasks:
            task.wait()
        return answers

    def _look_after(self, subject: Subject, answers: Answers) -> None:
        with self._at_once:
            try:
                self._sync_all(subject, answers)
            except DatabaseAbsent:
                return
            except TROUBLES as error:
                self._failed(subject.location, error)

    def _sync_all(self, subject: Subject, answers: Answers) -> None:
        self._report.count("looked_at")
        if answers and not any(isinstance(answer, Answer) or answer.device_gone for answer in answers.values()):
            self._cut_off.add(subject.location.root)
        limit = self._reclaimer.limit(self._slowest_clock(answers))
        if self._forgettable(subject, answers, limit):
            return
        if self._hold_back(subject, answers):
            return
        agreed = True
        for node in subject.peers:
            agreed &= self._sync_one(subject, node, answers[node], limit)
        if subject.mine is None:
            if agreed:
                self._give_up(subject)
            return
        if agreed:
            self._reclaim(subject, answers, limit)
        self.synced(subject)

    def _slowest_clock(self, answers: Answers) -> float:
        """What is not old yet for one of them it would bring back to those that have forgotten it."""
        clocks = [answer.clock for answer in answers.values() if isinstance(answer, Answer)]
        return min([self.runtime.clock.now(), *clocks])

    def _sync_one(self, subject: Subject, node: Device, answer: Answer | PeerFailed, limit: str) -> bool:
        """Whether both replicas agree now."""
        try:
            if isinstance(answer, PeerFailed):
                raise answer
            if answer.is_absent and subject.mine is not None and self._is_old_and_deleted(subject.summary, limit):
                # It has forgotten it, and must not be reminded. A handoff gives what it has before it goes: only
                # primaries tell others of a deletion that nobody may have heard of yet.
                return True
            outcome = self._sync.run(subject, node, answer, limit)
        except PeerFailed as failure:
            self._failed(subject.location, failure)
            if failure.device_gone and subject.mine is not None:
                self._lend(subject, node, limit)
            return False
        self._count(subject, outcome)
        return outcome.agreed

    def _lend(self, subject: Subject, gone: Device, limit: str) -> None:
        """A handoff holds the replica of a device that is gone."""
        handoffs = list(islice(self._ring().handoffs(subject.partition), len(subject.primaries)))
        if not handoffs:
            return
        # All peers choose the same one for the same device, and another for another where there are enough.
        node = handoffs[subject.primaries.index(gone) % len(handoffs)]
        try:
            (answer,) = self._peers.compare(node, [_question(subject)])
            self._count(subject, self._sync.run(subject, node, answer, limit))
        except PeerFailed as failure:
            self._failed(subject.location, failure)

    def _count(self, subject: Subject, outcome: Outcome) -> None:
        self._report.count("unchanged" if outcome.agreed and not outcome.worked else "synced")
        if outcome.changed:
            self.totals_changed(subject.location)

    def _give_up(self, subject: Subject) -> None:
        """This replica lies where it should not, and every primary has all of it: once they promise, it goes."""
        if not all(self._sync.give_up(subject, node) for node in subject.primaries):
            return
        now = self._ring().primaries(subject.partition)
        if now != subject.primaries or not subject.primaries:
            return  # the ring has just changed
        if self._remover.remove(subject.location, same_as(subject.summary)):
            self._report.count("removed")

    def _forgettable(self, subject: Subject, answers: Answers, limit: str) -> bool:
        """Remove the replica of a resource deleted long ago, if all primaries say the same or have forgotten it."""
        if not self._is_old_and_deleted(subject.summary, limit):
            return False
        for answer in answers.values():
            if not isinstance(answer, Answer) or answer.trouble:
                return False
            if answer.summary is not None and not self._is_old_and_deleted(answer.summary, limit):
                return False
        before = subject.summary

        def allowed(now: Summary) -> bool:
            return same_as(before)(now) and self._is_old_and_deleted(now, limit)

        with self.store.opened(subject.location) as database:
            if not database.read(self.settled):
                return False
        removed = self._remover.remove(subject.location, allowed)
        self._report.count("reclaimed", int(removed))
        return removed

    @staticmethod
    def _is_old_and_deleted(summary: Summary, limit: str) -> bool:
        status = summary.status
        return status.deleted and summary.row_count == 0 and status.delete_timestamp < limit

    def _hold_back(self, subject: Subject, answers: Answers) -> bool:
        """Hold it back, or set it aside, if its device was away for so long that the primaries may have forgotten it.

        Says whether it was. So they may if none knows it, and nothing has happened to it here since. It is set aside
        when all say so, and held back until then. One at least must have been in service when this device was in touch
        last: others know nothing anyway, and get what may be the last replica. In the partition of a former ring it may
        just be that they have not moved theirs.
        """
        away_since = self._away.get(subject.location.root)
        if away_since is None or int(subject.location.partition) != subject.partition:
            return False
        known = [each for each in answers.values() if isinstance(each, Answer) and each.is_absent]
        if not known or any(isinstance(each, Answer) and each.summary is not None for each in answers.values()):
            return False
        with self.store.opened(subject.location) as database:
            since = Timestamp.from_seconds(away_since).internal
            if database.read(partial(self._reclaimer.is_used_since, since), long=True):
                return False
        if len(known) < len(answers):
            self._cut_off.add(subject.location.root)
            self._report.count("failed")
            self.runtime.log.warning("database held back: it may have been deleted", file=subject.location.file)
            return True
        if any(each.note is not None and each.note.was_in_service_at(away_since) for each in known):
            self._set_aside(subject)
            return True
        return False

    def _set_aside(self, subject: Subject) -> None:
        location = subject.location
        target = self.runtime.threads.call(files.move_aside, location.directory, location.quarantine)
        self._report.count("set_aside")
        self.runtime.log.error("database unknown to all others since its device was away", target=target)

    def _reclaim(self, subject: Subject, answers: Answers, limit: str) -> None:
        """Drop old tombstones, now and then."""
        if subject.summary.tombstone_digest == 0:
            return
        now, key = self.runtime.clock.now(), subject.location.file
        if now < self._next_looks.get(key, 0.0):
            return
        if len(self._next_looks) >= LOOKS_REMEMBERED_MAX:
            self._next_looks.clear()
        self._next_looks[key] = now + self.config.reclaim_age / RECLAIM_LOOKS
        others = [node for node, answer in answers.items() if _may_have_older_rows(subject, answer)]

        def remind(rows: Sequence[Row]) -> None:
            for node in others:
                self._sync.remind(subject, node, rows, limit)

        with self.store.opened(subject.location) as database:
            dropped = self._reclaimer.run(database, subject.summary.sequence, limit, remind)
        self._report.count("tombstones_dropped", dropped)

    def _finish_removal(self, place: Place) -> None:
        try:
            self._remover.finish(place)
        except (DatabaseAbsent, *TROUBLES) as error:
            self._failed(place, error)

    def _failed(self, place: Place, error: Exception) -> None:
        self._report.count("failed")
        self.runtime.log.warning("database not replicated", file=place.file, reason=str(error))


def _question(subject: Subject) -> Question:
    return Question(subject.partition, subject.location.hash, subject.summary)


def _may_have_older_rows(subject: Subject, answer: Answer | PeerFailed) -> bool:
    if isinstance(answer, PeerFailed) or answer.summary is None:
        return False  # it has nothing, or this pass has failed
    return answer.summary.live_digest != subject.summary.live_digest
