"""Bytes of images into stores and out of them, and what the records say meanwhile.

The invariant: bytes are in a store only while a row of image_data names them. So the row is stored first and removed
last; whatever a crash or a failure leaves is found by its row, and reclaimed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Final
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from objstore.cloud.database import SqlDatabase
from objstore.errors import StoreError
from objstore.image.access import ImageCaller, check_owner
from objstore.image.inspect.inspector import Inspector
from objstore.image.measuring import ImageTooLarge, LiveWork, Measured, PassingBytes, WriteCancelled
from objstore.image.model import statuses
from objstore.image.model.attributes import BadValue, LimitExceeded
from objstore.image.model.statuses import check_transition
from objstore.image.queries import find_image
from objstore.image.records import DATA, DISCARDED, KEPT, STAGE, WRITING, ImageData, ImageRecord
from objstore.image.stores.store import ImageStore, StoreFailed
from objstore.logs import get_logger

MIB: Final = 1 << 20
DIGESTS_SUFFIX: Final = ".digests"
NOT_SET: Final = "{} must be set before data is given."


@dataclass(eq=False)
class NoSuchStore(StoreError):
    """A store that the service does not have."""

    message: ClassVar[str] = "There is no store {store}."

    store: str


@dataclass(frozen=True)
class StorageQuota:
    """How much a project may have; None is no limit. Sizes in bytes."""

    image_size_total: int | None = None
    image_stage_total: int | None = None
    image_count_total: int | None = None
    image_count_uploading: int | None = None


@dataclass(frozen=True)
class ImageUsage:
    """How much a project has."""

    image_size_total: int
    image_stage_total: int
    image_count_total: int
    image_count_uploading: int


def usage_of(session: Session, owner: str | None) -> ImageUsage:
    """Bytes under way count, those of deleted images too: an upload is no way around a quota."""
    sizes: dict[str, int] = dict.fromkeys((DATA, STAGE), 0)
    rows = select(ImageData.purpose, func.sum(ImageData.size)).where(
        ImageData.owner == owner, ImageData.state != DISCARDED
    )
    for purpose, size in session.execute(rows.group_by(ImageData.purpose)):
        sizes[purpose] = int(size or 0)
    own = select(func.count()).select_from(ImageRecord).where(ImageRecord.owner == owner)
    total = session.scalar(own.where(ImageRecord.status != statuses.DELETED)) or 0
    under_way = (statuses.SAVING, statuses.UPLOADING, statuses.IMPORTING)
    uploading = session.scalar(own.where(ImageRecord.status.in_(under_way))) or 0
    return ImageUsage(sizes[DATA], sizes[STAGE], total, uploading)


def microseconds() -> int:
    return time.time_ns() // 1000


@dataclass
class Transfers:
    """Uploads, stages, reads and discards. Threads share it."""

    database: SqlDatabase
    stores: Mapping[str, ImageStore]
    default_store: str
    size_max: int
    quota: StorageQuota = StorageQuota()
    live: LiveWork = field(default_factory=LiveWork)
    now: Callable[[], int] = microseconds
    discarded: threading.Event = field(default_factory=threading.Event)  # there is something to remove

    def __post_init__(self) -> None:
        self._log = get_logger("image")

    def store_named(self, name: str) -> ImageStore:
        """Raises NoSuchStore."""
        try:
            return self.stores[name]
        except KeyError:
            raise NoSuchStore(name) from None

    def upload(
        self, caller: ImageCaller, image_id: str, pieces: Iterable[bytes], length: int | None, store: str
    ) -> None:
        """Give a queued image its data. Raises what makes it refuse; then the image is queued again."""

        def begin(session: Session) -> tuple[ImageData, int, Inspector]:
            image = self._opened(session, caller, image_id, statuses.SAVING)
            for name in ("disk_format", "container_format"):
                if getattr(image, name) is None:
                    raise BadValue(NOT_SET.format(name))
            image.status = statuses.SAVING
            inspector = Inspector(str(image.disk_format), str(image.container_format))
            return self.new_data(session, image, store, DATA), self.allowance(session, image.owner, DATA), inspector

        data, limit, inspector = self._begun(begin, store, length)
        with self.undone(data):
            measured = self.write(data, pieces, limit, inspector)
            self.database.run(lambda session: self._activate(session, data, measured))

    def stage(self, caller: ImageCaller, image_id: str, pieces: Iterable[bytes], length: int | None) -> None:
        """Keep bytes for a queued image until they are imported. Raises what makes it refuse; then it is queued."""

        def begin(session: Session) -> tuple[ImageData, int, None]:
            image = self._opened(session, caller, image_id, statuses.UPLOADING)
            image.status = statuses.UPLOADING
            data = self.new_data(session, image, self.default_store, STAGE)
            return data, self.allowance(session, image.owner, STAGE), None

        data, limit, _ = self._begun(begin, self.default_store, length)
        with self.undone(data):
            measured = self.write(data, pieces, limit, None)

            def keep(session: Session) -> None:
                image = self.still(session, data, statuses.UPLOADING)
                self.kept(session, data, measured)
                image.size = measured.size
                image.updated_at = self.now()

            self.database.run(keep)

    def _begun(
        self, begin: Callable[[Session], tuple[ImageData, int, Inspector | None]], store: str, length: int | None
    ) -> tuple[ImageData, int, Inspector | None]:
        self.store_named(store)

        def bounded(session: Session) -> tuple[ImageData, int, Inspector | None]:
            data, limit, inspector = begin(session)
            if (length or 0) > limit:
                raise ImageTooLarge(limit)
            return data, limit, inspector

        return self.database.run(bounded)

    def _opened(self, session: Session, caller: ImageCaller, image_id: str, wanted: str) -> ImageRecord:
        image = find_image(session, caller, image_id)
        check_owner(caller, image)
        check_transition(image.status, wanted)
        limit = self.quota.image_count_uploading
        if limit is not None and usage_of(session, image.owner).image_count_uploading >= limit:
            raise LimitExceeded("images whose data is under way", limit)
        image.updated_at = self.now()
        return image

    def new_data(self, session: Session, image: ImageRecord, store: str, purpose: str) -> ImageData:
        """The row that has to be there before the first byte."""
        data = ImageData(
            id=str(uuid4()),
            image_id=image.id,
            owner=image.owner,
            store=store,
            purpose=purpose,
            state=WRITING,
            touched_at=self.now(),
            size=0,
        )
        session.add(data)
        return data

    def allowance(self, session: Session, owner: str | None, purpose: str) -> int:
        """How many bytes may be written for a project. Raises LimitExceeded when there is nothing left."""
        limit = self.quota.image_size_total if purpose == DATA else self.quota.image_stage_total
        if limit is None:
            return self.size_max
        used = usage_of(session, owner)
        left = limit - (used.image_size_total if purpose == DATA else used.image_stage_total)
        if left <= 0:
            raise LimitExceeded("bytes of images", limit)
        return min(self.size_max, left)

    def write(self, data: ImageData, pieces: Iterable[bytes], limit: int, inspector: Inspector | None) -> Measured:
        """Bytes, and then their digests, under the name of a row that is there. Raises StoreFailed and the like."""
        store = self.store_named(data.store)
        with self.live.doing(data.id) as cancelled:
            passing = PassingBytes(pieces, limit, cancelled, inspector)
            store.write(data.id, passing)
            measured = passing.finish()
            store.write(data.id + DIGESTS_SUFFIX, [measured.chunk_digests])
        return measured

    def still(self, session: Session, data: ImageData, status: str) -> ImageRecord:
        """The image of data that was written for it. Raises WriteCancelled if either is not what it was."""
        image = session.get(ImageRecord, data.image_id)
        row = session.get(ImageData, data.id)
        if image is None or image.status != status or row is None or row.state != WRITING:
            raise WriteCancelled
        return image

    def kept(self, session: Session, data: ImageData, measured: Measured) -> None:
        """All bytes are in the store: from now on the image's."""
        row = session.get_one(ImageData, data.id)
        row.state, row.size = KEPT, measured.size
        row.checksum, row.os_hash_value = measured.checksum, measured.os_hash_value

    def _activate(self, session: Session, data: ImageData, measured: Measured) -> None:
        image = self.still(session, data, statuses.SAVING)
        self.kept(session, data, measured)
        activate(image, measured, self.now())

    @contextmanager
    def undone(self, data: ImageData) -> Iterator[None]:
        """A block whose failure discards what it wrote, and queues the image again."""
        try:
            yield
        except BaseException:
            self.discard(data.image_id, [data.id], statuses.SAVING if data.purpose == DATA else statuses.UPLOADING)
            raise

    def discard(self, image_id: str, data_ids: Iterable[str], status_from: str | None) -> None:
        """Drop data, and queue its image again if it still has that status.

        An image that has data never loses the last of it here: if storing its new status seemed to fail and did not,
        the image is right.
        """
        ids = list(data_ids)

        def mark(session: Session) -> None:
            image = session.get_one(ImageRecord, image_id)
            others = {each.id for each in image.kept_data}.difference(ids)
            if image.status in statuses.HAS_DATA and not others:
                dropped = [each for each in image.data if each.purpose == STAGE or each.state == WRITING]
            else:
                dropped = image.data
            for row in dropped:
                if row.id in ids:
                    row.state = DISCARDED
            if image.status == status_from:
                queue_again(image, self.now())

        self.database.run(mark)
        for data_id in ids:
            self.live.cancel(data_id)
            self.remove(data_id)

    def remove(self, data_id: str) -> bool:
        """Take discarded bytes out of their store, and then forget them. False if they have to wait."""
        with self.database.reading() as session:
            row = session.get(ImageData, data_id)
        if row is None or row.state != DISCARDED or data_id in self.live.ids:
            return row is None
        try:
            store = self.store_named(row.store)
            store.discard(data_id)
            store.discard(data_id + DIGESTS_SUFFIX)
        except (StoreFailed, NoSuchStore) as error:
            self._log.repeated("discarded data of an image stays for now", row.store, reason=str(error))
            return False

        def forget(session: Session) -> None:
            found = session.get(ImageData, data_id)
            if found is not None:
                session.delete(found)

        self.database.run(forget)
        return True

    def read(self, image: ImageRecord, first: int, count: int, suffix: str = "") -> Iterator[bytes]:
        """So many bytes of an image; from another store if the first one fails before the first byte.

        Raises StoreFailed, at once or while it is read.
        """
        copies = sorted(image.kept_data, key=lambda each: (each.store != self.default_store, each.store))
        failure = StoreFailed(self.default_store, "it has no data of the image")
        for copy in copies:
            try:
                pieces = self.store_named(copy.store).read(copy.id + suffix, first, count)
                begin = next(pieces, b"")
            except (StoreFailed, NoSuchStore) as error:
                failure = error if isinstance(error, StoreFailed) else StoreFailed(copy.store, str(error))
                continue
            return _joined(begin, pieces)
        raise failure

    def find(self, caller: ImageCaller, image_id: str) -> ImageRecord:
        """Raises ImageNotFound."""
        with self.database.reading() as session:
            image = find_image(session, caller, image_id)
            _ = image.members  # so that it can be looked at when the transaction has ended
            return image


def _joined(begin: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if begin:
        yield begin
    yield from rest


def activate(image: ImageRecord, measured: Measured, now: int) -> None:
    """The image has its data."""
    check_transition(image.status, statuses.ACTIVE)
    image.status = statuses.ACTIVE
    image.size, image.virtual_size = measured.size, measured.virtual_size
    image.checksum, image.os_hash_value = measured.checksum, measured.os_hash_value
    image.updated_at = now


def queue_again(image: ImageRecord, now: int) -> None:
    """The image lost the data that it was about to have."""
    check_transition(image.status, statuses.QUEUED)
    image.status = statuses.QUEUED
    image.size = image.virtual_size = image.checksum = image.os_hash_value = None
    image.updated_at = now
