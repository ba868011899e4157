"""What keeps the stores and the records clean: work that died is undone, and discarded bytes are removed.

A process renews the rows of its own work; work whose row was not renewed for long is nobody's any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from objstore.image.importing import PROCESSING, end_task
from objstore.image.model import statuses
from objstore.image.records import DISCARDED, STAGE, WRITING, ImageData, ImageRecord, ImageTask
from objstore.image.transfers import Transfers, queue_again
from objstore.logs import get_logger

SECOND: Final = 1_000_000
RENEWALS: Final = 6  # of a row's life
BATCH: Final = 500
# Ids of deleted images are not taken again for so long; ended tasks are shown for so long.
DELETED_KEPT_SECONDS: Final = 30 * 86_400
TASKS_KEPT_SECONDS: Final = 2 * 86_400
INTERRUPTED: Final = "The service was interrupted."


@dataclass
class ImageReclaimer:
    """`renew` and `reclaim` are done again and again by `run`, in two threads: removing may take long."""

    transfers: Transfers
    reclaim_after_seconds: float

    def __post_init__(self) -> None:
        self._log = get_logger("image")

    def start(self, stop: threading.Event) -> list[threading.Thread]:
        loops = [(self.renew, stop), (self.reclaim, self.transfers.discarded)]
        threads = [threading.Thread(target=self._repeat, args=(*each, stop), daemon=True) for each in loops]
        for thread in threads:
            thread.start()
        return threads

    def _repeat(self, work: Callable[[], None], wake: threading.Event, stop: threading.Event) -> None:
        while not stop.is_set():
            if wake is not stop:
                wake.clear()
            try:
                work()
            except Exception:
                self._log.exception("a pass of the reclaimer failed")
            wake.wait(self.reclaim_after_seconds / RENEWALS)

    def renew(self) -> None:
        """Say that this process still works on what it works on, and stop what somebody else has discarded."""
        ids = list(self.transfers.live.ids)
        if not ids:
            return

        def touch(session: Session) -> set[str]:
            now = self.transfers.now()
            writing = ImageData.id.in_(ids), ImageData.state == WRITING
            session.execute(update(ImageData).where(*writing).values(touched_at=now))
            session.execute(update(ImageTask).where(ImageTask.id.in_(ids)).values(touched_at=now))
            discarded = select(ImageData.id).where(ImageData.id.in_(ids), ImageData.state == DISCARDED)
            return set(session.scalars(discarded))

        for data_id in self.transfers.database.run(touch):
            self.transfers.live.cancel(data_id)

    def reclaim(self) -> None:
        """Undo what died, remove what is discarded, forget what is old."""
        self.transfers.database.run(self._undo)
        with self.transfers.database.reading() as session:
            waiting = select(ImageData.id).where(ImageData.state == DISCARDED).limit(BATCH)
            discarded = list(session.scalars(waiting))
        for data_id in discarded:
            self.transfers.remove(data_id)
        self.transfers.database.run(self._forget)

    def _undo(self, session: Session) -> None:
        now = self.transfers.now()
        stale = now - int(self.reclaim_after_seconds * SECOND)
        dead_tasks = select(ImageTask).where(ImageTask.status == PROCESSING, ImageTask.touched_at < stale)
        for task in session.scalars(dead_tasks.limit(BATCH)).all():
            image = session.get(ImageRecord, task.image_id)
            if image is not None and image.status == statuses.IMPORTING:
                for data in image.data:
                    data.state = DISCARDED
                queue_again(image, now)
            end_task(session, task, INTERRUPTED, now)
        dead_data = select(ImageData).where(ImageData.state == WRITING, ImageData.touched_at < stale)
        for data in session.scalars(dead_data.limit(BATCH)).all():
            data.state = DISCARDED
            image = session.get(ImageRecord, data.image_id)
            expected = statuses.UPLOADING if data.purpose == STAGE else statuses.SAVING
            if image is not None and image.status == expected:
                queue_again(image, now)
            self._log.warning("what an interrupted upload left is reclaimed", image=data.image_id, data=data.id)

    def _forget(self, session: Session) -> None:
        now = self.transfers.now()
        old = ImageRecord.status == statuses.DELETED, ImageRecord.updated_at < now - DELETED_KEPT_SECONDS * SECOND
        for image in session.scalars(select(ImageRecord).where(*old).limit(BATCH)).all():
            if not image.data:
                session.delete(image)
        ended = ImageTask.status != PROCESSING, ImageTask.updated_at < now - TASKS_KEPT_SECONDS * SECOND
        for task in session.scalars(select(ImageTask).where(*ended).limit(BATCH)).all():
            session.delete(task)
