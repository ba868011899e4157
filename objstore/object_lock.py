"""Object lock: until when a version may be neither removed nor replaced, and who may change that. Pure.

A retention protects a version until a moment. Under GOVERNANCE those with a special right may shorten it, under
COMPLIANCE nobody may. A legal hold protects it until it is lifted. The two are independent of each other, and both are
kept in metadata that POSTs leave alone unless they are about it:

    Lock-Retention: COMPLIANCE 1767225600     until this second since the epoch; NONE: it was taken away
    Lock-Hold: ON                             OFF: it was lifted

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from objstore.headers import Sysmeta

NO_RETENTION: Final = "NONE"
HOLD: Final = "ON"
NO_HOLD: Final = "OFF"
LOCK_HEADERS: Final = (Sysmeta.LOCK_RETENTION, Sysmeta.LOCK_HOLD)
# As edges and the core know them: both are transient.
LOCK_RETENTION: Final = Sysmeta.LOCK_RETENTION.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
LOCK_HOLD: Final = Sysmeta.LOCK_HOLD.removeprefix(Sysmeta.OBJECT_TRANSIENT_PREFIX)
# Defaults of buckets, at most: a hundred years.
DAYS_MAX: Final = 36_500
YEARS_MAX: Final = 100
_DAY_SECONDS: Final = 86_400
_RETENTION: Final = re.compile(r"(GOVERNANCE|COMPLIANCE) ([0-9]{1,12})", re.ASCII)
_DEFAULT: Final = re.compile(r"(GOVERNANCE|COMPLIANCE) ([0-9]{1,5}) (Days|Years)", re.ASCII)


class RetentionMode(StrEnum):
    """Whether a retention can be shortened by those with the right to."""

    GOVERNANCE = "GOVERNANCE"
    COMPLIANCE = "COMPLIANCE"


class Retention(Struct, frozen=True):
    """A version is kept until then, in seconds since the epoch."""

    mode: RetentionMode
    until: int

    @property
    def stored(self) -> str:
        """The form in metadata."""
        return f"{self.mode} {self.until}"


class DefaultRetention(Struct, frozen=True):
    """What new versions of a bucket get: so many `unit`s, "Days" or "Years", from when they are made."""

    mode: RetentionMode
    count: int
    unit: str

    @property
    def stored(self) -> str:
        """The form in metadata."""
        return f"{self.mode} {self.count} {self.unit}"

    def since(self, made: float) -> Retention:
        """That of a version made then, in seconds since the epoch."""
        if self.unit == "Days":
            return Retention(self.mode, -int(-made // 1) + self.count * _DAY_SECONDS)
        begun = datetime.fromtimestamp(-int(-made // 1), UTC)
        try:
            ended = begun.replace(year=begun.year + self.count)
        except ValueError:  # the 29th of February
            ended = begun.replace(year=begun.year + self.count, month=3, day=1)
        return Retention(self.mode, int(ended.timestamp()))


class ObjectLock(Struct, frozen=True):
    """What protects a version."""

    retention: Retention | None = None
    hold: bool = False

    def protects(self, now: float, *, bypasses: bool = False) -> bool:
        """Whether the version may not be removed now; `bypasses`: by those with the right to under GOVERNANCE."""
        if self.hold:
            return True
        retention = self.retention
        if retention is None or retention.until <= now:
            return False
        return retention.mode is RetentionMode.COMPLIANCE or not bypasses

    def refuses(self, wanted: Retention | None, now: float, *, bypasses: bool = False) -> bool:
        """Whether the retention may not be replaced by another one, or taken away, now: it only gets longer.

        A legal hold has no say in that.
        """
        present = self.retention
        if present is None or present.until <= now:
            return False
        if wanted is not None and wanted.mode is present.mode and wanted.until >= present.until:
            return False
        return present.mode is RetentionMode.COMPLIANCE or not bypasses


NO_LOCK: Final = ObjectLock()


def lock_in(headers: Mapping[str, str]) -> ObjectLock:
    """The lock in stored metadata, by the names of headers."""
    return stored_lock(headers.get(Sysmeta.LOCK_RETENTION), headers.get(Sysmeta.LOCK_HOLD))


def stored_lock(retention: str | None, hold: str | None) -> ObjectLock:
    """The lock in its stored form. What cannot be read protects for good."""
    if retention is None and hold is None:
        return NO_LOCK
    try:
        kept = stored_retention(retention or NO_RETENTION)
    except ValueError:
        return ObjectLock(hold=True)
    return ObjectLock(kept, hold not in (None, NO_HOLD))


def stored_retention(stored: str) -> Retention | None:
    """The retention in its stored form. Raises ValueError."""
    if stored == NO_RETENTION:
        return None
    found = _RETENTION.fullmatch(stored)
    if found is None:
        raise ValueError(f"no retention: {stored!r}")
    return Retention(RetentionMode(found[1]), int(found[2]))


def stored_default(stored: str) -> DefaultRetention | None:
    """The default retention of a bucket, as it is stored; None if the bucket has none."""
    found = _DEFAULT.fullmatch(stored)
    return None if found is None else DefaultRetention(RetentionMode(found[1]), int(found[2]), found[3])


def is_refused(present: Mapping[str, str], posted: Mapping[str, str], now: float, *, bypasses: bool) -> bool:
    """Whether a POST would weaken the lock of what is stored. Raises ValueError for a retention that is none."""
    if Sysmeta.LOCK_RETENTION not in posted:
        return False
    return lock_in(present).refuses(stored_retention(posted[Sysmeta.LOCK_RETENTION]), now, bypasses=bypasses)


def with_lock_of(present: Mapping[str, str], posted: Mapping[str, str]) -> dict[str, str]:
    """The metadata of a POST, with the lock of what is stored where it does not say another one."""
    return {name: present[name] for name in LOCK_HEADERS if name in present} | dict(posted)
