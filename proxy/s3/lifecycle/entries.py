"""Which buckets have a lifecycle, and how far each bucket's pass is: one object of the store's own account for each.

An entry is written before the bucket gets its rules, and dropped by the daemon once the bucket has had none for
DROP_SECONDS. It is a lease, too: who works on a bucket writes so into its entry, by a conditional write, and renews
that with each page. Whoever finds its entry changed has lost the bucket, and whoever finds the lease expired takes
over where the other one has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.conditions import WriteConditions
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import GetContainer, made_on_demand
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.listing import ListingQuery, whole
from objstore.proxy.core.objects import DeleteObject, GetObject, PutObject

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

ENTRIES: Final = ResourcePath(".s3", "lifecycle")
ENTRY_BYTES_MAX: Final = 16_384
DROP_SECONDS: Final = 3600.0
PAGE: Final = 1000


class LeaseLost(Exception):
    """Somebody else works on the bucket, or its rules have changed; never beyond the daemon."""


class PassState(Struct, frozen=True):
    """How far the pass over a bucket is. Days are numbered from the epoch.

    ended: the day for which all is done; begun: the day of the pass under way, which has dealt with all names up to
    `marker`, and then with uploads up to `upload_marker`. owner: who works on it, until then (seconds since the epoch).
    """

    ended: int = -1
    begun: int = -1
    marker: str = ""
    has_uploads_left: bool = False
    upload_marker: tuple[str, str] = ("", "")
    owner: str = ""
    until: float = 0.0
    nonce: str = ""


class BucketEntry(Struct, frozen=True):
    """An entry as it is stored. written: in seconds since the epoch."""

    bucket: ResourcePath
    state: PassState
    etag: str
    written: float


_decoder: Final = msgspec.json.Decoder(PassState)


class LifecycleEntries:
    """Reads and writes entries."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects: Final = context.objects
        self._containers: Final = context.containers
        self._lookup: Final = context.lookup
        self._clock: Final = context.runtime.clock
        self._random: Final = context.runtime.random

    def note(self, bucket: ResourcePath, transaction_id: str) -> None:
        """A bucket is about to get rules, or others: a pass begins anew, whoever works on it. Raises CoreError."""
        self._put(bucket, PassState(), None, transaction_id)

    def buckets(self) -> Iterator[ResourcePath]:
        """All that have an entry, page by page. Raises CoreError."""
        marker = ""
        while True:
            try:
                page = self._containers.list(GetContainer(ENTRIES, ListingQuery(str(PAGE), marker), newest=True))
            except ContainerNotFound:
                return
            for listed in page:
                account, _, container = listed.name.partition("/")
                yield ResourcePath(account, container)
            if len(page) < PAGE:
                return
            marker = page[-1].name

    def read(self, bucket: ResourcePath) -> BucketEntry | None:
        """Raises CoreError."""
        command = GetObject(_place(bucket), self._policy_index(""), newest=True)
        try:
            opened = self._objects.open(command)
        except ObjectNotFound:
            return None
        with closing(opened):
            if opened.length is None or opened.length > ENTRY_BYTES_MAX:
                raise QuorumNotReached(command.path)
            state = _decoder.decode(whole(opened.body))
        return BucketEntry(bucket, state, opened.info.etag, float(opened.info.timestamp))

    def replace(self, entry: BucketEntry, state: PassState) -> BucketEntry:
        """The entry with another state. Raises LeaseLost if somebody else has changed it, CoreError."""
        try:
            return self._put(entry.bucket, state, entry.etag)
        except PreconditionFailed:
            raise LeaseLost from None

    def drop(self, entry: BucketEntry) -> None:
        """Remove an entry, unless somebody has changed it. Raises CoreError."""
        conditions = WriteConditions(if_match=(entry.etag,))
        place, index = _place(entry.bucket), self._policy_index("")
        try:
            self._objects.delete(DeleteObject(place, index, self._clock.timestamp(), conditions=conditions))
        except (ObjectNotFound, PreconditionFailed):
            pass

    def _put(self, bucket: ResourcePath, state: PassState, etag: str | None, transaction_id: str = "") -> BucketEntry:
        # No two states have one ETag, which tells them apart.
        state = msgspec.structs.replace(state, nonce=f"{self._random.getrandbits(64):x}")
        content, timestamp = msgspec.json.encode(state), self._clock.timestamp()
        command = PutObject(
            _place(bucket),
            self._policy_index(transaction_id),
            timestamp,
            BytesBody(content),
            len(content),
            len(content),
            "application/json",
            conditions=None if etag is None else WriteConditions(if_match=(etag,)),
            transaction_id=transaction_id,
        )
        stored = self._objects.put(command)
        return BucketEntry(bucket, state, stored.etag, stored.timestamp.seconds)

    def _policy_index(self, transaction_id: str) -> int:
        """Of the container of entries, which is made when the first one is written."""
        return made_on_demand(ENTRIES, self._lookup, self._containers, self._clock, transaction_id)


def _place(bucket: ResourcePath) -> ResourcePath:
    return ENTRIES.with_object(f"{bucket.account}/{bucket.container}")
