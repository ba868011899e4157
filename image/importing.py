"""Imports: staged data, a download or another store's copy becomes an image's data, in the background.

A request checks everything that can be checked, notes a task, and is answered; a thread does the rest. An import either
ends with an active image, or leaves it as it was before with nothing in the stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import uuid4

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from objstore.errors import StoreError
from objstore.image.access import ImageCaller, check_owner
from objstore.image.inspect.inspector import Inspector, judge
from objstore.image.inspect.view import HEAD_BYTES, TAIL_BYTES, ImageView
from objstore.image.measuring import Measured, WriteCancelled
from objstore.image.model import statuses
from objstore.image.model.attributes import BadValue
from objstore.image.model.statuses import WrongStatus
from objstore.image.queries import find_image
from objstore.image.records import DATA, ImageData, ImageRecord, ImageTask
from objstore.image.remote import RemoteFile, RemotePolicy
from objstore.image.stores.store import StoreFailed
from objstore.image.transfers import NOT_SET, Transfers, activate
from objstore.logs import get_logger

GLANCE_DIRECT: Final = "glance-direct"
WEB_DOWNLOAD: Final = "web-download"
COPY_IMAGE: Final = "copy-image"
# Which status an image must have.
METHODS: Final = {
    GLANCE_DIRECT: statuses.UPLOADING,
    WEB_DOWNLOAD: statuses.QUEUED,
    COPY_IMAGE: statuses.ACTIVE,
}
IMPORTING_TO: Final = "os_glance_importing_to_stores"
FAILED_IMPORT: Final = "os_glance_failed_import"
PROCESSING: Final = "processing"
SUCCESS: Final = "success"
FAILURE: Final = "failure"
WAITING_MAX: Final = 200


@dataclass(eq=False)
class ImportRefused(StoreError):
    """The image, or the service, cannot begin this import now."""

    message: ClassVar[str] = "{reason}"

    reason: str


class ImportMethod(msgspec.Struct, frozen=True):
    """How the data is to be had."""

    name: str
    uri: str | None = None


class ImportRequest(msgspec.Struct, frozen=True):
    """The body of a request to import."""

    method: ImportMethod
    stores: list[str] | None = None
    all_stores: bool = False
    all_stores_must_succeed: bool = True

    def targets(self, known: Mapping[str, object], default: str) -> tuple[str, ...]:
        """The stores it names, each once. Raises BadValue."""
        if self.all_stores and self.stores is not None:
            raise BadValue("All_stores parameter can't be used with x-image-meta-store header or stores parameter")
        targets = list(known) if self.all_stores else self.stores or [default]
        unknown = [name for name in targets if name not in known]
        if unknown:
            raise BadValue(f"There is no store {unknown[0]:.64}.")
        return tuple(dict.fromkeys(targets))


@dataclass
class Imports:
    """Begins imports, and does them in threads of its own."""

    transfers: Transfers
    policy: RemotePolicy
    pool: ThreadPoolExecutor

    def __post_init__(self) -> None:
        self._log = get_logger("image")

    def begin(self, caller: ImageCaller, user_id: str, image_id: str, request: ImportRequest, request_id: str) -> str:
        """The id of the task. Raises BadValue, WrongStatus, ImportRefused, RemoteRefused and what access raises."""
        if request.method.name not in METHODS:
            raise BadValue(f"Unknown import method name '{request.method.name:.64}'.")
        if request.method.name == WEB_DOWNLOAD:
            if not request.method.uri:
                raise BadValue("URI is required if using 'web-download'.")
            self.policy.check_uri(request.method.uri)
        job = _ImportJob(self.transfers, self.policy, request, image_id)
        self.transfers.database.run(lambda session: job.begin(session, caller, user_id, request_id))
        self.pool.submit(self._work, job)
        return job.task_id

    def _work(self, job: _ImportJob) -> None:
        message = ""
        try:
            with self.transfers.live.doing(job.task_id):
                job.work()
        except StoreError as error:
            message = str(error)
        except Exception:
            message = "The service failed; its log says more."
            self._log.exception("an import failed unexpectedly", image=job.image_id, task=job.task_id)
        now = self.transfers.now()
        self.transfers.database.run(
            lambda session: end_task(session, session.get_one(ImageTask, job.task_id), message, now)
        )


class _ImportJob:
    """One import: `begin` in the request's thread, `work` in another."""

    def __init__(self, transfers: Transfers, policy: RemotePolicy, request: ImportRequest, image_id: str) -> None:
        """Raises BadValue."""
        self.image_id = image_id
        self.task_id = str(uuid4())
        self._transfers = transfers
        self._database = transfers.database
        self._policy = policy
        self._request = request
        self._method = request.method.name
        self._targets = request.targets(transfers.stores, transfers.default_store)
        self._kept: list[str] = []  # ids of the data that is in its store
        self._staged: str | None = None
        self._measured: Measured | None = None  # what the image will be, once one store has it

    def begin(self, session: Session, caller: ImageCaller, user_id: str, request_id: str) -> None:
        """Check and note the import. Raises what refuses it."""
        image = find_image(session, caller, self.image_id)
        check_owner(caller, image)
        self._check(session, image)
        if self._method == COPY_IMAGE:
            there = {each.store for each in image.kept_data}
            if self._request.stores is not None and there.intersection(self._targets):
                raise BadValue("The image is in one of the stores already.")
            self._targets = tuple(name for name in self._targets if name not in there)
        else:
            image.status = statuses.IMPORTING
            self._staged = next((each.id for each in image.staged), None)
        now = self._transfers.now()
        task = ImageTask(id=self.task_id, image_id=image.id, type="api_image_import", status=PROCESSING)
        task.owner, task.user_id, task.request_id = image.owner, user_id, request_id
        task.input = msgspec.json.encode({"image_id": image.id, "import_req": self._request}).decode()
        task.created_at = task.updated_at = task.touched_at = now
        session.add(task)
        image.note(IMPORTING_TO, ",".join(self._targets))
        image.note(FAILED_IMPORT, "")
        image.updated_at = now

    def _check(self, session: Session, image: ImageRecord) -> None:
        if image.status != METHODS[self._method]:
            raise WrongStatus(image.status, f"imported by {self._method}")
        for name in ("container_format", "disk_format"):
            if getattr(image, name) is None:
                raise ImportRefused(NOT_SET.format(name))
        unfinished = select(func.count()).select_from(ImageTask).where(ImageTask.status == PROCESSING)
        if session.scalar(unfinished.where(ImageTask.image_id == image.id)):
            raise ImportRefused("The image is being imported already.")
        if (session.scalar(unfinished) or 0) >= WAITING_MAX:
            raise ImportRefused(f"There are {WAITING_MAX} imports already; try again later.")
        if self._method == GLANCE_DIRECT and not image.staged:
            raise ImportRefused("The image has no staged data, or not all of it yet.")

    def work(self) -> None:
        """Fill the stores one after the other. Raises StoreError when the import as a whole failed."""
        try:
            failure: StoreError | None = None
            for store in self._targets:
                try:
                    self._fill(store)
                except StoreError as error:
                    if self._request.all_stores_must_succeed:
                        raise
                    failure = error
                self._database.run(lambda session, name=store, failed=failure: self._passed(session, name, failed))  # type: ignore[misc]
            if failure is not None and not self._kept:
                raise failure
            self._database.run(self._finish)
        except BaseException:
            self._transfers.discard(self.image_id, self._kept, self._status_under_way)
            raise
        finally:
            if self._staged is not None and self._staged not in self._kept:
                self._transfers.discard(self.image_id, [self._staged], None)

    def end(self, session: Session, message: str) -> None:
        end_task(session, session.get_one(ImageTask, self.task_id), message, self._transfers.now())

    @property
    def _status_under_way(self) -> str | None:
        """What the image is until the import ends, and is queued again from if it fails; None while it is active."""
        return None if self._method == COPY_IMAGE else statuses.IMPORTING

    def _passed(self, session: Session, store: str, failure: StoreError | None) -> None:
        """One store is done with, well or not."""
        image = session.get_one(ImageRecord, self.image_id)
        left = [name for name in image.noted(IMPORTING_TO).split(",") if name and name != store]
        image.note(IMPORTING_TO, ",".join(left))
        if failure is not None:
            image.note(FAILED_IMPORT, ",".join(filter(None, [image.noted(FAILED_IMPORT), store])))

    def _finish(self, session: Session) -> None:
        image = session.get_one(ImageRecord, self.image_id)
        if self._method == COPY_IMAGE:
            image.updated_at = self._transfers.now()
            if image.status not in statuses.HAS_DATA:
                raise WriteCancelled
        else:
            if image.status != statuses.IMPORTING or self._measured is None:
                raise WriteCancelled
            activate(image, self._measured, self._transfers.now())

    def _fill(self, store: str) -> None:
        """Bring the image's data into one store. Raises StoreError."""
        with self._database.reading() as session:
            image = session.get_one(ImageRecord, self.image_id)
        source = next(iter([*image.kept_data, *image.staged]), None)
        if self._measured is None and source is not None:
            self._measured = self._judged(image, source)
        if source is not None and source.id == self._staged and source.store == store:
            self._database.run(self._adopt)
            self._kept.append(source.id)
            return

        def begin(session: Session) -> tuple[ImageData, int]:
            data = self._transfers.new_data(session, image, store, DATA)
            return data, self._transfers.allowance(session, image.owner, DATA)

        data, limit = self._database.run(begin)
        try:
            measured = self._downloaded(image, data, limit) if source is None else self._copied(source, data, limit)
            self._database.run(lambda session: self._arrived(session, data, measured))
        except BaseException:
            self._transfers.discard(self.image_id, [data.id], None)
            raise
        self._kept.append(data.id)

    def _adopt(self, session: Session) -> None:
        """Staged data that is in the right store becomes the image's as it is."""
        session.get_one(ImageData, self._staged).purpose = DATA

    def _arrived(self, session: Session, data: ImageData, measured: Measured) -> None:
        image = session.get(ImageRecord, self.image_id)
        if image is None:
            raise WriteCancelled
        self._transfers.still(session, data, image.status)
        self._transfers.kept(session, data, measured)

    def _downloaded(self, image: ImageRecord, data: ImageData, limit: int) -> Measured:
        inspector = Inspector(str(image.disk_format), str(image.container_format))
        with RemoteFile(str(self._request.method.uri), self._policy) as remote:
            self._measured = self._transfers.write(data, remote, limit, inspector)
        return self._measured

    def _copied(self, source: ImageData, data: ImageData, limit: int) -> Measured:
        """Write what another store has; what has changed on the way is no copy. Raises StoreFailed."""
        pieces = self._transfers.store_named(source.store).read(source.id, 0, source.size)
        measured = self._transfers.write(data, pieces, limit, None)
        if measured.os_hash_value != source.os_hash_value:
            raise StoreFailed(source.store, "the data is not what was stored there")
        return measured

    def _judged(self, image: ImageRecord, source: ImageData) -> Measured:
        """What an image is whose bytes are in a store already, judged by their two ends. Raises UnsafeImage."""
        read = self._transfers.store_named(source.store).read
        head = b"".join(read(source.id, 0, min(HEAD_BYTES, source.size)))
        tail = min(TAIL_BYTES, source.size)
        view = ImageView(head, b"".join(read(source.id, source.size - tail, tail)), source.size)
        size = judge(view, str(image.disk_format), str(image.container_format))
        return Measured(source.size, str(source.checksum), str(source.os_hash_value), b"", size)


def end_task(session: Session, task: ImageTask, message: str, now: int) -> None:
    """The task succeeded, or failed for the reason that the message gives."""
    task.status = FAILURE if message else SUCCESS
    task.message = message
    task.result = msgspec.json.encode({"image_id": task.image_id} if not message else None).decode()
    task.updated_at = now
    image = session.get(ImageRecord, task.image_id)
    if image is not None:
        failed = image.noted(IMPORTING_TO) if message else ""
        image.note(IMPORTING_TO, "")
        image.note(FAILED_IMPORT, ",".join(filter(None, [image.noted(FAILED_IMPORT), failed])))
