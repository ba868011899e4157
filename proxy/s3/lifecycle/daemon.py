"""The lifecycle daemon: deletes what the rules of buckets want to be gone, once a day, after midnight (UTC).

Several nodes share the buckets by leases (`entries`). Each deletion depends on what was listed: an object that was
written meanwhile, or a version that has become current, survives, and what is locked stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.conditions import WriteConditions
from objstore.daemon import Step
from objstore.db.reports import PassReport
from objstore.errors import StoreError
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.errors import (
    ContainerNotFound,
    NewerStored,
    ObjectLocked,
    ObjectNotFound,
    PreconditionFailed,
    UploadNotFound,
)
from objstore.proxy.core.info import ContainerInfo
from objstore.proxy.core.listing import ListedVersion, VersionsQuery
from objstore.proxy.core.objects import DeleteObject, GetObject
from objstore.proxy.core.parallel import for_each
from objstore.proxy.core.upload_commands import ListUploads
from objstore.proxy.core.versions import NULL, public_id
from objstore.proxy.s3.bucket_events import BucketEvent, BucketEvents, deletion_event
from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.handlers.object_tags import tags_of
from objstore.proxy.s3.lifecycle.decisions import DueAction, ObjectVersion, due_actions
from objstore.proxy.s3.lifecycle.entries import DROP_SECONDS, BucketEntry, LeaseLost, LifecycleEntries, PassState
from objstore.proxy.s3.lifecycle.rules import DAY_SECONDS, LifecycleRule, due_at, stored_rules
from objstore.proxy.s3.policy_keys import TAGS
from objstore.proxy.s3.settings import BucketSettings
from objstore.proxy.s3.settings_table import LIFECYCLE
from objstore.rate_limiter import RateLimiter
from objstore.timestamps import Timestamp
from objstore.uploads import UploadName, begun_at

if TYPE_CHECKING:
    from objstore.config.proxy import LifecycleConfig
    from objstore.proxy.core.context import ProxyContext
    from objstore.recon import Recon

# Longer than a page of a thousand deletions takes.
LEASE_SECONDS: Final = 600.0
PAGE: Final = 1000
EXPIRED: Final = "LifecycleExpiration"
# Who deletes, and from where, in the words of AWS's events.
LIFECYCLE_NAME: Final = "s3.amazonaws.com"


class BucketPass(Struct, frozen=True):
    """A bucket whose lease this process has: its rules, and what time it is for them."""

    path: ResourcePath
    info: ContainerInfo
    rules: tuple[LifecycleRule, ...]
    now: float
    is_strong: bool


class LifecycleDaemon:
    """A worker: each step looks at a page of a bucket."""

    name: str = "lifecycle"

    def __init__(self, config: LifecycleConfig, context: ProxyContext, recon: Recon) -> None:
        self._config = config
        self._objects = context.objects
        self._containers = context.containers
        self._uploads = context.uploads
        self._policies = context.cluster.policies
        self._clock = context.runtime.clock
        self._random = context.runtime.random
        self._log = context.runtime.log
        self._entries = LifecycleEntries(context)
        self._settings = BucketSettings(context)
        self._events = BucketEvents(context, self._settings)
        self._report = PassReport(self.name, recon, context.runtime, "objects")
        self._rate = RateLimiter(config.objects_per_second, context.runtime.clock)
        self._owner = ""
        self._work: Iterator[None] | None = None

    def step(self) -> Step:
        """The next page; IDLE at the end of a pass."""
        if self._work is None:
            # Drawn here: workers are forked after they were made.
            self._owner = self._owner or f"{self._random.getrandbits(64):x}"
            self._report.begin()
            self._work = self._pass()
        if next(self._work, self) is None:
            return Step.BUSY
        self._work = None
        self._report.end()
        return Step.IDLE

    def _pass(self) -> Iterator[None]:
        try:
            yield from self._all_buckets()
        except StoreError as error:  # too few servers say which buckets there are: the next pass goes over them
            self._report.count("failed")
            self._log.warning("lifecycle of buckets not done", reason=str(error))

    def _all_buckets(self) -> Iterator[None]:
        for path in self._entries.buckets():
            try:
                yield from self._look_after(path)
            except LeaseLost:
                self._report.count("handed_over")
            except (StoreError, OSError, ValueError) as error:
                self._report.count("failed")
                self._log.warning("lifecycle of a bucket not done", bucket=str(path), reason=str(error))
            yield

    def _look_after(self, path: ResourcePath) -> Iterator[None]:
        now = self._clock.now()
        entry = self._entries.read(path)
        if entry is None or entry.state.ended >= int(now // DAY_SECONDS):
            return
        if entry.state.until > now and entry.state.owner != self._owner:
            return
        found = self._bucket(path, now)
        if found is None:
            if now - entry.written > DROP_SECONDS:
                self._entries.drop(entry)
            return
        day = int(now // DAY_SECONDS)
        if entry.state.begun != day:
            entry = replace(entry, state=PassState(entry.state.ended, day))
        yield from self._carry_out(self._renewed(entry), found)

    def _bucket(self, path: ResourcePath, now: float) -> BucketPass | None:
        """None for one that is gone, or has no lifecycle."""
        try:
            info = self._containers.head(GetContainer(path, newest=True))
        except ContainerNotFound:
            return None
        document = self._settings.read(Bucket(path, info), LIFECYCLE, "")
        if document is None:
            return None
        is_strong = self._policies.by_index(info.policy_index).is_strong
        return BucketPass(path, info, stored_rules(document), now, is_strong)

    def _renewed(self, entry: BucketEntry, **changes: Any) -> BucketEntry:
        """The entry, held for longer. Raises LeaseLost, CoreError."""
        until = self._clock.now() + LEASE_SECONDS
        return self._entries.replace(entry, replace(entry.state, owner=self._owner, until=until, **changes))

    def _carry_out(self, entry: BucketEntry, bucket: BucketPass) -> Iterator[None]:
        """The pass over a bucket, from where it is. Raises LeaseLost, CoreError."""
        if not entry.state.has_uploads_left:
            for marker in self._versions(bucket, entry.state.marker):
                entry = self._renewed(entry, marker=marker)
                yield
            entry = self._renewed(entry, has_uploads_left=True)
        while (behind := self._abort_page(bucket, entry.state.upload_marker)) is not None:
            entry = self._renewed(entry, upload_marker=behind)
            yield
        self._entries.replace(entry, PassState(entry.state.begun))
        self._report.count("buckets")

    def _versions(self, bucket: BucketPass, marker: str) -> Iterator[str]:
        """Deal with all names behind the marker; after each page gives how far it is."""
        query, left, done = VersionsQuery(str(PAGE), marker), list[ListedVersion](), marker
        while True:
            page = [
                each
                for each in self._containers.list(GetContainer(bucket.path, query, newest=True))
                if isinstance(each, ListedVersion)
            ]
            self._rate.acquire(len(page))
            self._report.count("seen", len(page))
            left += page
            is_last = len(page) < PAGE
            groups = [(name, list(versions)) for name, versions in groupby(left, key=lambda each: each.name)]
            # More versions of the last name may stand on the next page.
            whole = groups if is_last else groups[:-1]
            actions = [(name, action) for name, versions in whole for action in self._due(bucket, name, versions)]
            for_each(actions, lambda each: self._act(bucket, *each), self._config.concurrency)
            if is_last:
                return
            left = groups[-1][1]
            done = whole[-1][0] if whole else done
            yield done
            query = replace(query, marker=page[-1].name, version_marker=page[-1].version_id)

    def _due(self, bucket: BucketPass, name: str, listed: list[ListedVersion]) -> list[DueAction]:
        # What is current stands first, also where it is an older version that was written again.
        versions = [_version(each) for each in sorted(listed, key=lambda each: not each.is_latest)]
        tags = partial(self._tags, bucket, name)
        return list(due_actions(name, versions, bucket.rules, bucket.now, tags))

    def _tags(self, bucket: BucketPass, name: str, version: ObjectVersion) -> Mapping[str, str]:
        """Raises CoreError; an object that is gone meanwhile has none."""
        command = GetObject(
            bucket.path.with_object(name),
            bucket.info.policy_index,
            newest=True,
            open_expired=True,
            as_stored=True,
            version=version.version,
        )
        try:
            return tags_of(self._objects.head(command).metadata.transient.get(TAGS, ""))
        except ObjectNotFound:
            return {}

    def _act(self, bucket: BucketPass, name: str, action: DueAction) -> None:
        command = DeleteObject(
            bucket.path.with_object(name),
            bucket.info.policy_index,
            self._clock.timestamp(),
            version=action.version.version if action.removes else "",
            version_mode="" if action.removes else bucket.info.version_mode,
            conditions=conditions_of(action, bucket.is_strong),
        )
        container = Bucket(bucket.path, bucket.info)
        version_id = public_id(action.version.version) if action.removes else None
        event = BucketEvent(
            f"{EXPIRED}:{deletion_event(container, version_id)}",
            container,
            name,
            LIFECYCLE_NAME,
            LIFECYCLE_NAME,
            self.name,
            version_id,
        )
        try:
            self._events.carry_out(
                event, lambda: self._delete(command), lambda made: {"versionId": made} if made else {}
            )
        except (PreconditionFailed, NewerStored):
            self._report.count("changed")
            return
        except ObjectLocked:
            self._report.count("locked")
            return
        except StoreError as error:
            self._report.count("failed")
            self._log.warning("not deleted by its lifecycle", object=str(command.path), reason=str(error))
            return
        self._report.count("removed" if action.removes else "expired")

    def _delete(self, command: DeleteObject) -> str:
        """The id of the version that was removed, or of the marker that was made. Raises CoreError."""
        try:
            made = self._objects.delete(command).internal
        except ObjectNotFound:
            made = ""  # a marker was removed
        version = command.version or (made if command.version_mode == "keep" else "")
        return public_id(version) if version else ""

    def _abort_page(self, bucket: BucketPass, marker: tuple[str, str]) -> tuple[str, str] | None:
        """Abort what is due of a page of uploads; where the next one begins, None after the last one."""
        rules = [rule for rule in bucket.rules if rule.abort_days is not None]
        if not rules:
            return None
        page = self._uploads.list(ListUploads(bucket.path, PAGE, key_marker=marker[0], upload_marker=marker[1]))
        self._rate.acquire(len(page.uploads))
        due = [each.name for each in page.uploads if _is_due(each.name, rules, bucket.now)]
        for_each(due, lambda upload: self._abort(bucket, upload), self._config.concurrency)
        return None if page.next is None else (page.next.key, page.next.upload)

    def _abort(self, bucket: BucketPass, upload: UploadName) -> None:
        try:
            self._uploads.abort(bucket.path.with_object(upload.key), upload.upload, "")
        except UploadNotFound:
            return
        self._report.count("aborted")


def conditions_of(action: DueAction, is_strong: bool) -> WriteConditions | None:
    """In which state of its object an action is carried out.

    Without strong consistency servers weigh the conditions of a removal against the version itself: it has none then.
    """
    current = action.while_current
    if action.removes:
        if not is_strong:
            return None
        return WriteConditions(if_absent=True) if current is None else WriteConditions(if_version=current.version)
    version = action.version
    unmodified = Timestamp.from_seconds(version.made).ceil_seconds if version.version == NULL else None
    return WriteConditions(if_match=(version.etag,), if_version=version.version, if_unmodified_since=unmodified)


def _version(listed: ListedVersion) -> ObjectVersion:
    """A kept version is called by the time at which it was made."""
    if listed.version_id == NULL:
        made = Timestamp.from_isoformat(listed.last_modified).seconds
    else:
        made = Timestamp.parse(listed.version_id).seconds
    etag = listed.slo_etag.strip('"') or listed.etag
    return ObjectVersion(listed.version_id, made, etag, listed.size, listed.marker)


def _is_due(upload: UploadName, rules: list[LifecycleRule], now: float) -> bool:
    begun = begun_at(upload.upload).seconds
    return any(rule.filter.has_name(upload.key) and due_at(begun, rule.abort_days or 0) <= now for rule in rules)
