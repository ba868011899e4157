"""The lifecycle daemon: whose a bucket is, where a pass goes on, and on what its deletions depend."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from objstore.conditions import WriteConditions
from objstore.config.cluster import WebhookConfig
from objstore.config.proxy import LifecycleConfig
from objstore.daemon import run_once
from objstore.logs import Logger, Sink
from objstore.metrics import Metrics
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.errors import ObjectLocked, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.info import PRESENT, ContainerInfo
from objstore.proxy.core.listing import ListedObject, ListedVersion, VersionsQuery
from objstore.proxy.core.objects import DeleteObject
from objstore.proxy.core.upload_commands import ListUploads, OpenUpload, UploadsPage
from objstore.proxy.s3.lifecycle import daemon as module
from objstore.proxy.s3.lifecycle.daemon import LEASE_SECONDS, LifecycleDaemon
from objstore.proxy.s3.lifecycle.entries import DROP_SECONDS, ENTRIES, LifecycleEntries
from objstore.proxy.s3.lifecycle.rules import DAY_SECONDS
from objstore.proxy.s3.settings import BucketSettings
from objstore.timestamps import Timestamp
from objstore.uploads import UploadName, new_id
from tests.unit.proxy.s3.lifecycle.test_rules import ABORT, DAYS, rule, stored
from tests.unit.proxy.s3.memory import NOTIFICATION, MemoryCore, MemoryOutbox

BUCKET = ResourcePath("AUTH_a", "b")
NONCURRENT = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"


class Recon:
    def __init__(self) -> None:
        self.said: dict[str, Any] = {}

    def report(self, daemon: str, **values: Any) -> None:
        self.said |= values


class AgingCore(MemoryCore):
    """A bucket with some versions, as listings tell them; what is deleted of it is kept."""

    def __init__(self, *rules: str) -> None:
        super().__init__()
        self.listed: list[ListedVersion] = []
        self.uploads: list[UploadName] = []
        self.deleted: list[DeleteObject] = []
        self.aborted: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.made[ENTRIES] = ContainerInfo(PRESENT)
        self.made[BUCKET] = ContainerInfo(PRESENT, sysmeta={"Versions-Enabled": "true"})
        context, delete = self.context, self.context.objects.delete

        def removed(command: DeleteObject) -> Timestamp:
            if command.path.container_path != BUCKET:
                made: Timestamp = delete(command)
                return made
            if command.path.object in self.errors:
                raise self.errors[command.path.object]
            self.deleted.append(command)
            return command.timestamp

        context.objects.delete = removed
        context.containers.list = self._list
        context.uploads = SimpleNamespace(list=self._uploads, abort=self._abort)
        context.cluster.policies = SimpleNamespace(by_index=lambda _index: SimpleNamespace(is_strong=True))
        context.runtime.log, context.runtime.metrics = Logger("proxy", Sink(write=lambda _line: None)), Metrics()
        if rules:
            self.set_rules(*rules)

    def set_rules(self, *rules: str) -> None:
        info = self.made[BUCKET]
        LifecycleEntries(self.context).note(BUCKET, "")
        encoded = BucketSettings(self.context).encoded(BUCKET, {"Lifecycle": stored(*rules)}, "")
        self.made[BUCKET] = msgspec.structs.replace(info, sysmeta=info.sysmeta | encoded)

    def version(self, name: str, age_days: float, *, latest: bool = True, marker: bool = False) -> None:
        stamp = Timestamp.from_seconds(self.clock.seconds - age_days * DAY_SECONDS)
        self.listed.append(
            ListedVersion(
                name, "e", 5, "a/b", stamp.isoformat, version_id=stamp.internal, is_latest=latest, marker=marker
            )
        )

    def _list(self, command: GetContainer) -> list[Any]:
        query, limit = command.query, int(command.query.limit or 0)
        if command.path == ENTRIES:
            names = sorted(path.object for path in self.stored if path.container_path == ENTRIES)
            return [ListedObject(name, "", 0, "", "") for name in names if name > (query.marker or "")][:limit]
        assert isinstance(query, VersionsQuery)
        place = (query.marker or "", query.version_marker)
        behind = [number for number, each in enumerate(self.listed) if (each.name, each.version_id) == place]
        if behind:
            return self.listed[behind[0] + 1 :][:limit]
        return [each for each in self.listed if each.name > place[0]][:limit]

    def _uploads(self, _command: ListUploads) -> UploadsPage:
        return UploadsPage([OpenUpload(each, {}) for each in self.uploads], [], None)

    def _abort(self, _path: ResourcePath, upload: str, _transaction_id: str) -> None:
        self.aborted.append(upload)

    def daemon(self) -> LifecycleDaemon:
        return LifecycleDaemon(LifecycleConfig(concurrency=1, objects_per_second=0), self.context, Recon())

    def pass_(self, daemon: LifecycleDaemon | None = None) -> dict[str, int]:
        chosen = daemon or self.daemon()
        run_once(chosen)
        counts: dict[str, int] = chosen._report.counts
        return counts

    @property
    def names(self) -> list[str]:
        return [command.path.object for command in self.deleted]


def test_once_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    core = AgingCore(rule(DAYS))
    core.version("new", 0.5)
    core.version("old", 3)
    assert core.pass_() == {"seen": 2, "expired": 1, "buckets": 1}
    assert core.names == ["old"]
    assert core.pass_() == {}
    core.clock.seconds += DAY_SECONDS
    assert core.pass_()["buckets"] == 1
    assert core.names == ["old", "old"]  # the listing is what it was
    core.clock.seconds += DAY_SECONDS
    assert "new" not in core.names[:2]
    core.pass_()
    assert "new" in core.names


def test_a_pass_that_cannot_tell_the_buckets_is_left_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when proxies start before the servers of containers."""

    def none_answers(_entries: LifecycleEntries) -> None:
        raise QuorumNotReached(ENTRIES)

    core = AgingCore(rule(DAYS))
    core.version("old", 3)
    with monkeypatch.context() as patch:
        patch.setattr(LifecycleEntries, "buckets", none_answers)
        assert core.pass_() == {"failed": 1}
    assert core.pass_()["expired"] == 1


def test_deletions_depend_on_what_was_listed() -> None:
    core = AgingCore(rule(DAYS + NONCURRENT))
    core.version("k", 3)
    core.version("k", 9, latest=False)
    core.version("m", 3, marker=True)
    core.version("m", 9, latest=False)
    core.pass_()
    current, older, behind_marker = core.deleted
    first, second, _, fourth = (each.version_id for each in core.listed)
    assert (current.version_mode, current.version) == ("keep", "")
    assert current.conditions == WriteConditions(if_match=("e",), if_version=first)
    assert (older.version_mode, older.version, older.conditions) == ("", second, WriteConditions(if_version=first))
    assert (behind_marker.version, behind_marker.conditions) == (fourth, WriteConditions(if_absent=True))


def test_what_has_changed_or_is_locked_stays() -> None:
    core = AgingCore(rule(DAYS))
    for name in ("changed", "locked", "old"):
        core.version(name, 3)
    core.errors = {"changed": PreconditionFailed(), "locked": ObjectLocked(BUCKET)}
    assert core.pass_() == {"seen": 3, "expired": 1, "changed": 1, "locked": 1, "buckets": 1}


def test_a_bucket_is_one_nodes_until_its_lease_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one then goes on where it has ended, and the first one finds out before it deletes more."""
    monkeypatch.setattr(module, "PAGE", 2)
    core = AgingCore(rule(DAYS))
    for name in "abcdef":
        core.version(name, 3)
    first, second = core.daemon(), core.daemon()
    first.step()
    first.step()
    done = len(core.names)
    assert 0 < done < 6
    assert core.pass_(second) == {}
    core.clock.seconds += LEASE_SECONDS + 1
    assert core.pass_(second)["expired"] == 6 - done + (core.names.count("b") > 1)
    assert sorted(set(core.names)) == list("abcdef")
    deleted = len(core.names)
    assert core.pass_(first)["handed_over"] == 1
    assert len(core.names) <= deleted + 2


def test_a_pass_begins_anew_when_the_rules_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    core = AgingCore(rule(DAYS))
    for name in "abcdef":
        core.version(name, 3)
    daemon = core.daemon()
    daemon.step()
    daemon.step()
    core.set_rules(rule(DAYS, "<Filter><Prefix>f</Prefix></Filter>"))
    assert core.pass_(daemon)["handed_over"] == 1
    core.deleted.clear()
    assert core.pass_(daemon)["expired"] == 1
    assert core.names == ["f"]


def test_versions_of_one_object_may_stand_on_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    core = AgingCore(rule(NONCURRENT))
    for number in range(7):
        core.version("k", 2 + number, latest=not number)
    core.version("z", 3)
    assert core.pass_()["removed"] == 6
    assert [each.version for each in core.deleted] == [each.version_id for each in core.listed[1:7]]


def test_uploads_are_aborted() -> None:
    core = AgingCore(rule(ABORT))
    now = core.clock.seconds
    ages = (0.5, 2.5)
    core.uploads = [UploadName("k", new_id(Timestamp.from_seconds(now - age * DAY_SECONDS), 1)) for age in ages]
    assert core.pass_() == {"aborted": 1, "buckets": 1}
    assert core.aborted == [core.uploads[1].upload]


def test_entries_of_buckets_without_rules_are_dropped_in_time() -> None:
    core = AgingCore(rule(DAYS))
    core.made[BUCKET] = ContainerInfo(PRESENT)
    entries = LifecycleEntries(core.context)
    assert core.pass_() == {}
    assert list(entries.buckets()) == [BUCKET]
    core.clock.seconds += DROP_SECONDS + 1
    core.pass_()
    assert list(entries.buckets()) == []


def test_webhooks_are_told() -> None:
    core, outbox = AgingCore(rule(DAYS + NONCURRENT)), MemoryOutbox()
    core.context.outbox, core.context.cluster.webhooks = outbox, (WebhookConfig("hook", "http://h"),)
    info = core.made[BUCKET]
    encoded = BucketSettings(core.context).encoded(BUCKET, {"Notification": NOTIFICATION}, "")
    core.made[BUCKET] = msgspec.structs.replace(info, sysmeta=info.sysmeta | encoded)
    core.version("a", 3)
    core.version("a", 9, latest=False)
    core.version("b", 3)  # no rule of the notification covers it
    core.version("a-locked", 3)
    core.errors["a-locked"] = ObjectLocked(BUCKET)
    core.pass_()
    records = [(step, entry.message["Records"][0]) for step, entry in outbox.told]
    assert [(step, made["eventName"], made["s3"]["object"]["key"]) for step, made in records] == [
        ("intend", "LifecycleExpiration:DeleteMarkerCreated", "a"),
        ("settle", "LifecycleExpiration:DeleteMarkerCreated", "a"),
        ("intend", "LifecycleExpiration:Delete", "a"),
        ("settle", "LifecycleExpiration:Delete", "a"),
        ("intend", "LifecycleExpiration:DeleteMarkerCreated", "a-locked"),
        ("withdraw", "LifecycleExpiration:DeleteMarkerCreated", "a-locked"),
    ]
    assert records[1][1]["s3"]["object"]["versionId"]
    assert records[0][1]["userIdentity"] == {"principalId": "s3.amazonaws.com"}
