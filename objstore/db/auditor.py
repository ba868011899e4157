"""The auditor of databases: a worker that reads all of them, pass after pass, and sets aside those that are damaged.

What was set aside is put in place again by the replicators of the other replicas.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Final, Generic

from objstore.cluster import Cluster
from objstore.daemon import Step
from objstore.db.auditing import Audit
from objstore.db.connection import DatabaseAbsent, DatabaseBusy, DatabaseCorrupt, DatabaseFailed
from objstore.db.description import Description, Row
from objstore.db.location import Place
from objstore.db.reports import PassReport
from objstore.db.store import DatabaseStore
from objstore.db.summary import peek
from objstore.db.walk import Walk
from objstore.mounts import DeviceRoot
from objstore.recon import Recon
from objstore.runtime import Runtime

DATABASES_PER_STEP: Final = 10


class DatabaseAuditor(Generic[Row]):
    """A worker: each step reads up to DATABASES_PER_STEP databases."""

    name: str
    databases_per_step: Final = DATABASES_PER_STEP

    def __init__(
        self,
        description: Description[Row],
        cluster: Cluster,
        devices: DeviceRoot,
        runtime: Runtime,
        recon: Recon,
    ) -> None:
        self._folder = description.folder
        self._devices = devices
        self._runtime = runtime
        self._store = DatabaseStore(description, cluster, devices, runtime, open_max=1)
        self._audit = Audit(description, cluster)
        self._report = PassReport(self.name, recon, runtime)
        self._walk: Walk | None = None

    @abstractmethod
    def totals_changed(self, place: Place) -> None:
        """The totals of a database have just been corrected."""

    def step(self) -> Step:
        """The next few databases; IDLE at the end of a pass."""
        call = self._runtime.threads.call
        if self._walk is None:
            self._report.begin()
            self._walk = call(Walk, self._devices, self._folder, self._runtime)
        places = call(self._walk.some, DATABASES_PER_STEP)
        if not places:
            self._walk = None
            self._report.end()
            return Step.IDLE
        for place in places:
            self._look_at(place)
        self._report.progress(self._walk.done, self._walk.total)
        return Step.BUSY

    def _look_at(self, place: Place) -> None:
        try:
            self._report.count("sound" if self._is_right(place) else "recounted")
        except DatabaseAbsent:
            return  # deleted meanwhile, or about to be
        except DatabaseCorrupt:
            self._report.count("quarantined")  # by the store, which has logged why
        except (DatabaseBusy, DatabaseFailed, OSError) as error:
            self._report.count("failed")
            self._runtime.log.warning("database not audited", file=place.file, reason=str(error))

    def _is_right(self, place: Place) -> bool:
        """Whether nothing had to be corrected. Raises DatabaseCorrupt once it is in quarantine."""
        check = partial(self._audit.check, place)
        try:
            right = self._runtime.threads.call(peek, place.file, check)
        except DatabaseCorrupt:
            right = None  # once more, with the locks that others respect
        if right:
            return True
        with self._store.opened(place) as database:
            if database.read(check, long=True):
                return True
            self._audit.recount(database)
        self._runtime.log.error("totals of a database were wrong", file=place.file)
        self.totals_changed(place)
        return False
