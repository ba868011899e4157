"""The account reaper: deletes the containers and objects of deleted accounts.

Each primary of an account looks after a share of its containers, by their names, so that none is done twice; containers
that hold uploads are containers like others. A version that cannot be deleted, or turns up later, is left to the next
pass: the account is empty when its database says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from functools import partial
from typing import Final

from objstore.account.rows import AccountSchema
from objstore.config.account import ReaperConfig
from objstore.daemon import Step
from objstore.db.connection import DatabaseAbsent
from objstore.db.location import DatabaseLocation, Walk
from objstore.db.reports import PassReport
from objstore.db.store import DatabaseStore
from objstore.db.summary import Summary, peek, read_summary
from objstore.direct import Direct, account_headers, container_headers
from objstore.errors import StoreError
from objstore.headers import Backend, Client
from objstore.object_lock import lock_in
from objstore.paths import ResourcePath
from objstore.ring.daemon_context import DaemonContext
from objstore.rows import ContainerRow, encode_rows
from objstore.system import concurrency
from objstore.system.concurrency import Task
from objstore.timestamps import Timestamp

ACCOUNTS_PER_STEP: Final = 50
CONTAINERS_PER_PAGE: Final = 1000


class AccountReaper:
    """A worker: each step looks at some accounts, or deletes some objects of one."""

    name: str = "account-reaper"

    def __init__(self, config: ReaperConfig, context: DaemonContext, timeout_seconds: float) -> None:
        """`timeout_seconds` is how long a storage server may take to answer."""
        cluster, devices, runtime = context.cluster, context.devices, context.runtime
        self._config = config
        self._devices = devices
        self._rings = context.rings
        self._runtime = runtime
        self._is_mine = context.is_mine
        self._hasher = cluster.hasher
        self._direct = Direct(context.transport, cluster.hasher, timeout_seconds)
        schema = AccountSchema(cluster.limits, cluster.policies)
        self._store = DatabaseStore(schema, cluster, devices, runtime, open_max=1)
        self._report = PassReport(self.name, context.recon, runtime, "items")
        self._walk: Walk | None = None
        self._work: Iterator[None] = iter(())

    def step(self) -> Step:
        """The next piece; IDLE at the end of a pass."""
        if next(self._work, self) is None:
            return Step.BUSY
        if self._walk is None:
            self._report.begin()
            self._walk = Walk(self._devices, AccountSchema.folder, self._runtime)
        locations = self._walk.some(ACCOUNTS_PER_STEP)
        if not locations:
            self._walk = None
            self._report.end()
            return Step.IDLE
        self._work = self._reap_all(locations)
        self._report.progress(self._walk.done, self._walk.total)
        return Step.BUSY

    def _reap_all(self, locations: list[DatabaseLocation]) -> Iterator[None]:
        """A piece of work at a time."""
        for location in locations:
            try:
                summary = self._summary(location)
                if self._is_due(summary):
                    yield from self._reap(location, summary)
            except DatabaseAbsent:
                continue
            except (StoreError, OSError) as error:
                self._report.count("failed")
                self._runtime.log.warning("account not reaped", file=location.file, reason=str(error))

    def _summary(self, location: DatabaseLocation) -> Summary:
        found: Summary | None = self._store.threads_of(location).call(peek, location.file, read_summary)
        if found is not None:
            return found
        with self._store.opened(location) as database:
            return database.read(read_summary)

    def _is_due(self, summary: Summary) -> bool:
        """Whether it was deleted long enough ago, and holds something."""
        if not summary.status.deleted or not summary.row_count:
            return False
        age = self._runtime.clock.now() - Timestamp.parse(summary.status.delete_timestamp).seconds
        if age > self._config.delay_reaping + self._config.reap_warn_after:
            self._runtime.log.warning("account not reaped for long", account=summary.account, age_seconds=int(age))
        return age >= self._config.delay_reaping

    def _reap(self, location: DatabaseLocation, summary: Summary) -> Iterator[None]:
        account = ResourcePath(summary.account)
        _, primaries = self._direct.primaries(self._rings.account, account)
        name = location.device_name
        mine = [number for number, node in enumerate(primaries) if node.device == name and self._is_mine(node)]
        if not mine:
            return
        self._report.count("accounts")
        marker = ""
        while names := self._containers(location, marker):
            marker = names[-1]
            for name in names:
                path = ResourcePath(account.account, name)
                if self._hasher.digest(path)[-1] % len(primaries) == mine[0]:
                    yield from self._reap_container(path)

    def _containers(self, location: DatabaseLocation, marker: str) -> list[str]:
        """A page of those that are left."""

        def read(connection: sqlite3.Connection) -> list[str]:
            found = connection.execute(
                "SELECT name FROM row WHERE deleted = 0 AND name > ? ORDER BY name LIMIT ?",
                (marker, CONTAINERS_PER_PAGE),
            )
            return [name for (name,) in found]

        with self._store.opened(location) as database:
            return database.read(read, long=True)

    def _reap_container(self, path: ResourcePath) -> Iterator[None]:
        """Delete all versions of its objects, a page at a time, and then itself."""
        left = 0
        for page in self._direct.pages(self._rings.container, path, versions=True):
            versions = [(path.with_object(entry["name"]), entry["version_id"]) for entry in page.entries]
            if page.is_lockable:
                found = len(versions)
                versions = [each for each in versions if not self._is_locked(page.policy_index, *each)]
                left += found - len(versions)
            left += self._delete_versions(page.policy_index, versions)
            yield
        if left:
            return
        headers = {
            Client.TIMESTAMP: self._runtime.clock.timestamp().internal,
            Backend.ALLOW_RESERVED_NAMES: "true",
            **account_headers(*self._direct.primaries(self._rings.account, path.account_path)),
        }
        replies = self._direct.send(self._rings.container, "DELETE", path, headers)
        deleted = replies.best in (204, 404)
        if set(replies.statuses) == {404}:
            # It may be that none has its database, and then none has told the account, which lists it all the same.
            deleted = self._tell_account(path)
        self._report.count("containers" if deleted else "containers_left")
        yield

    def _tell_account(self, path: ResourcePath) -> bool:
        """Report a container as deleted and empty; whether a quorum of the account's servers has taken it."""
        now = self._runtime.clock.timestamp().internal
        row = ContainerRow(path.container, put_timestamp="0", delete_timestamp=now, stats_timestamp=now)
        return self._direct.update(self._rings.account, path.account_path, encode_rows([row])).best // 100 == 2

    def _delete_versions(self, policy_index: int, versions: list[tuple[ResourcePath, str]]) -> int:
        """How many of them could not be deleted."""
        left = 0
        for start in range(0, len(versions), self._config.concurrency):
            part = versions[start : start + self._config.concurrency]
            tasks: list[Task[bool]] = [
                concurrency.spawn(partial(self._delete_version, policy_index, path, version)) for path, version in part
            ]
            left += sum(not task.wait() for task in tasks)
        return left

    def _is_locked(self, policy_index: int, path: ResourcePath, version: str) -> bool:
        """Whether object lock protects a version, or might: a server that has missed the lock would remove it."""
        headers = {Backend.POLICY_INDEX: str(policy_index), Backend.VERSION_ID: version, Backend.OPEN_EXPIRED: "true"}
        seen = self._direct.send(self._rings.object(policy_index), "HEAD", path, headers)
        now = self._runtime.clock.now()
        answers = [reply for reply in seen.replies if reply.status in (200, 404)]
        locked = len(answers) < seen.quorum or any(lock_in(reply.headers).protects(now) for reply in answers)
        self._report.count("objects_left", int(locked))
        return locked

    def _delete_version(self, policy_index: int, path: ResourcePath, version: str) -> bool:
        headers = {
            Client.TIMESTAMP: self._runtime.clock.timestamp().internal,
            Backend.POLICY_INDEX: str(policy_index),
            Backend.VERSION_ID: version,
        }
        each = container_headers(*self._direct.primaries(self._rings.container, path.container_path))
        best = self._direct.send(self._rings.object(policy_index), "DELETE", path, headers, each=each).best
        deleted = best in (204, 404)
        self._report.count("objects" if deleted else "objects_left")
        return deleted
