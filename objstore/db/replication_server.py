"""The server's side of replication: it answers the REPLICATE requests of other replicas' replicators."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Final, Generic

from msgspec.structs import replace

from objstore.contact_record import read_contact_record
from objstore.db.connection import DatabaseAbsent, DatabaseAwaitsRepair, DatabaseBusy, DatabaseCorrupt, DatabaseFailed
from objstore.db.database import Database
from objstore.db.location import DatabaseLocation, ResourceLocation
from objstore.db.merging import BatchReader, Merger
from objstore.db.messages import (
    BATCH_BYTES_MAX,
    BATCH_ROWS_MAX,
    SUMMARIES_MAX,
    SUMMARY_REQUESTS,
    MergeResult,
    RowBatch,
    SummaryRequest,
    SummaryResponse,
    SyncStep,
    batch_decoder,
    decode,
    encode,
)
from objstore.db.schema import Row, TableSchema
from objstore.db.snapshots import Snapshots
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary, peek_all, read_summary
from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.mounts import DeviceRoot
from objstore.runtime import Runtime

_HASH: Final = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch


class DatabaseReplicationServer(Generic[Row]):
    """Answers REPLICATE requests for the databases of one kind."""

    def __init__(
        self,
        schema: TableSchema[Row],
        store: DatabaseStore[Row],
        devices: DeviceRoot,
        runtime: Runtime,
        totals_changed: Callable[[ResourceLocation], None],
    ) -> None:
        self._schema = schema
        self._store = store
        self._devices = devices
        self._runtime = runtime
        self._totals_changed = totals_changed
        self._merger = Merger(schema, runtime)
        self._reader = BatchReader(schema)
        self._snapshots = Snapshots(schema, store, devices, runtime)
        self._batches = batch_decoder(schema)

    def handle(self, request: Request, locate: Callable[[Request], ResourceLocation]) -> Response:
        """Answer one request. Raises HttpError, and what operations on databases raise."""
        try:
            kind = SyncStep(request.query.get("step", ""))
        except ValueError:
            raise HttpError(400, "No such step of a sync") from None
        match kind:
            case SyncStep.COMPARE:
                return self._compare(request)
            case SyncStep.MERGE:
                return self._merge(request, locate(request))
            case SyncStep.ROWS:
                return self._rows(request, locate(request))
            case SyncStep.WHOLE:
                return self._whole(request, locate(request))
            case SyncStep.SNAPSHOT:
                return self._snapshot(request)

    def _compare(self, request: Request) -> Response:
        root = self._devices.path(request.path.split("/", 2)[1])
        questions = decode(SUMMARY_REQUESTS, request.whole_body(BATCH_BYTES_MAX))
        if len(questions) > SUMMARIES_MAX:
            raise HttpError(413, f"At most {SUMMARIES_MAX} databases")
        locations = [self._location(root, question.partition, question.hash) for question in questions]
        found = self._runtime.threads.of(root).call(peek_all, [location.file for location in locations])
        answers = [
            self._answer(location, question, summary)
            for location, question, summary in zip(locations, questions, found, strict=True)
        ]
        if any(answer.is_absent for answer in answers):
            note = self._runtime.threads.of(root).call(read_contact_record, root, self._schema.folder)
            answers = [
                # A database that was quarantined is no evidence that the others' was deleted.
                replace(answer, note=note) if answer.is_absent and not self._store.awaits_repair(location) else answer
                for location, answer in zip(locations, answers, strict=True)
            ]
        return _json(answers)

    def _location(self, root: str, partition: int, digest: str) -> DatabaseLocation:
        if not _HASH(digest) or partition < 0:
            raise HttpError(400, "Bad hash or partition")
        return DatabaseLocation(root, self._schema.folder, str(partition), digest)

    def _answer(
        self, location: DatabaseLocation, question: SummaryRequest, summary: Summary | Exception | None
    ) -> SummaryResponse:
        """How the database stands here; if its rows equal the peer's, the sync point moves."""
        now = self._runtime.clock.now()
        try:
            if isinstance(summary, Exception):
                raise summary
            if summary is None:
                with self._store.opened(location) as database:
                    summary = self._durable_summary(database)
            theirs = question.summary
            if (theirs.account, theirs.container) != (summary.account, summary.container):
                return SummaryResponse(trouble="another resource has this hash", clock=now)
            if summary.same_rows(theirs) and theirs.sequence > summary.points.get(theirs.id, 0):
                with self._store.opened(location) as database:
                    summary = self._merger.agree(database, theirs)
            return SummaryResponse(summary, clock=now)
        except (DatabaseAbsent, DatabaseAwaitsRepair, DatabaseCorrupt):
            return SummaryResponse(clock=now)  # a corrupt one is in quarantine by now: the peer may send its own
        except (DatabaseBusy, DatabaseFailed, OSError) as error:
            return SummaryResponse(trouble=str(error), clock=now)

    def _durable_summary(self, database: Database) -> Summary:
        summary = database.read(read_summary)
        database.flush()
        return summary

    def _merge(self, request: Request, location: ResourceLocation) -> Response:
        batch = self._merger.checked(decode(self._batches, request.whole_body(BATCH_BYTES_MAX)))
        if len(batch.rows) > BATCH_ROWS_MAX:
            raise HttpError(413, f"At most {BATCH_ROWS_MAX} rows")
        try:
            return _json(self._merge_into(location, batch))
        except (DatabaseAbsent, DatabaseAwaitsRepair):
            if not batch.create or batch.after:
                raise
            self._store.create(location, batch.status, batch.items, partial(self._merger.fill, batch))
        # It now holds all of the batch: merging it again changes nothing, and says so.
        self._totals_changed(location)
        return _json(self._merge_into(location, batch), 201)

    def _merge_into(self, location: ResourceLocation, batch: RowBatch[Row]) -> MergeResult:
        with self._store.opened(location) as database:
            changes = self._merger.merge(database, batch)
        if changes.totals_changed:
            self._totals_changed(location)
        return changes.merged

    def _rows(self, request: Request, location: ResourceLocation) -> Response:
        after, limit = _number(request, "after", 2**62), _number(request, "limit", BATCH_ROWS_MAX)
        with self._store.opened(location) as database:
            return _json(self._reader.read(database, after, max(limit, 1)))

    def _whole(self, request: Request, location: ResourceLocation) -> Response:
        length = request.header(Backend.OBJECT_LENGTH, "0") or "0"
        if not (length.isascii() and length.isdecimal()):
            raise HttpError(400, f"Bad {Backend.OBJECT_LENGTH}")
        installed = self._snapshots.receive(location, request.body, int(length))
        self._totals_changed(location)
        return Response(201 if installed else 202)

    def _snapshot(self, request: Request) -> Response:
        _, device, partition, _ = request.path.split("/", 3)
        root = self._devices.path(device)
        location = self._location(root, int(partition) if partition.isdecimal() else -1, request.query.get("hash", ""))
        try:
            body, digest = self._snapshots.offer(location)
        except DatabaseAwaitsRepair:
            raise HttpError(404) from None
        return Response(200, {Backend.BODY_CHECKSUM: digest}, body)


def _number(request: Request, name: str, largest: int) -> int:
    text = request.query.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= largest):
        raise HttpError(400, f"Bad {name}")
    return int(text)


def _json(message: object, status: int = 200) -> Response:
    return Response(status, {Client.CONTENT_TYPE: "application/json"}, encode(message))
