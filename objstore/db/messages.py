"""Messages between replicas: the bodies of REPLICATE requests and of their responses, in JSON unless said otherwise.

The `step` of the query says what is asked:

`compare`  /DEVICE/PARTITION/.replication: a SummaryRequest for each of many databases, of any partition;
           answered with as many SummaryResponses.
`merge`    /DEVICE/PARTITION/ACCOUNT[/CONTAINER]: a RowBatch to be merged, answered with a MergeResult.
`rows`     the same path: the RowBatch of rows `after` a sequence, `limit` of them at most.
`whole`    the same path: a snapshot of the database file; its xxh3-128 follows as a trailer. 201 when it was put in
           place, 202 when there was one by then and its rows were merged.
`snapshot` /DEVICE/PARTITION/.replication: answered with a snapshot of the database of a `hash`; its xxh3-128 stands in
           a header. 404 when there is none.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from objstore.contact_record import ContactRecord
from objstore.db.info import Item
from objstore.db.schema import Row, TableSchema
from objstore.db.status import Status
from objstore.db.summary import Summary
from objstore.http.errors import HttpError

METHOD: Final = "REPLICATE"
# Compared databases lie in several accounts: the path names none.
COMPARED_ACCOUNT: Final = ".replication"
SUMMARIES_MAX: Final = 1000
BATCH_BYTES_MAX: Final = 32 * 1024 * 1024
BATCH_ROWS_MAX: Final = 10_000


class SyncStep(Enum):
    """The steps of a sync, as they stand in the query."""

    COMPARE = "compare"
    MERGE = "merge"
    ROWS = "rows"
    WHOLE = "whole"
    SNAPSHOT = "snapshot"


class SummaryRequest(Struct, frozen=True, gc=False):
    """A database of the requesting replicator, and how it stands there."""

    partition: int
    hash: str
    summary: Summary


class SummaryResponse(Struct, frozen=True, gc=False):
    """The peer's replica, None if it has none; with `trouble` that is not known. `clock` is the peer's time.

    `note` is the contact record of the peer's device if there is no replica, None if the device has no record.
    """

    summary: Summary | None = None
    trouble: str = ""
    clock: float = 0.0
    note: ContactRecord | None = None

    @property
    def is_absent(self) -> bool:
        """Whether there is none."""
        return self.summary is None and not self.trouble


class RowBatch(Struct, Generic[Row], frozen=True):
    """Rows of the sequences after `after` up to and including `upto`, and the sender's status and metadata.

    `points` are the sender's own if the batch brings all the sender holds, else {}. With `create` an absent database
    is to be created. With `leaving` the sender is about to remove its replica (`removal`). Tombstones from before
    `forgotten_before` are merged only where there is a row for them to delete (`removal`).
    """

    sender: str
    after: int
    upto: int
    sequence: int
    points: dict[str, int]
    status: Status
    items: list[Item]
    rows: list[Row]
    create: bool = False
    leaving: bool = False
    forgotten_before: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing is left after it."""
        return self.upto >= self.sequence


class MergeResult(Struct, frozen=True):
    """The replica after a batch was merged; `held` says whether it holds all that the sender had at `upto`."""

    summary: Summary
    items: list[Item]
    held: bool
    created: bool = False


Message = TypeVar("Message")

encode: Final = msgspec.json.Encoder().encode
SUMMARY_REQUESTS: Final = msgspec.json.Decoder(list[SummaryRequest])
SUMMARY_RESPONSES: Final = msgspec.json.Decoder(list[SummaryResponse])
MERGE_RESULT: Final = msgspec.json.Decoder(MergeResult)


def batch_decoder(schema: TableSchema[Row]) -> msgspec.json.Decoder[RowBatch[Row]]:
    return msgspec.json.Decoder(RowBatch[schema.row_type])  # type: ignore[name-defined]


def decode(decoder: msgspec.json.Decoder[Message], body: bytes) -> Message:
    """Raises HttpError 400 on anything else."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(400, f"Bad message: {error}") from None
