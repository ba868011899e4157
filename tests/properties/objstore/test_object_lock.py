"""Object lock: what a lock protects stays, whatever is asked for, until its time is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.headers import Sysmeta
from objstore.object_lock import (
    LOCK_HEADERS,
    DefaultRetention,
    ObjectLock,
    Retention,
    RetentionMode,
    is_refused,
    lock_in,
    stored_default,
    stored_retention,
    with_lock_of,
)

MOMENTS = st.integers(0, 4_000_000_000)
RETENTIONS = st.builds(Retention, st.sampled_from(RetentionMode), MOMENTS)
DEFAULTS = st.builds(
    DefaultRetention, st.sampled_from(RetentionMode), st.integers(1, 100), st.sampled_from(["Days", "Years"])
)
LOCKS = st.builds(ObjectLock, st.none() | RETENTIONS, st.booleans())


def stored(lock: ObjectLock) -> dict[str, str]:
    headers = {Sysmeta.LOCK_HOLD: "ON" if lock.hold else "OFF"}
    return headers | {Sysmeta.LOCK_RETENTION: "NONE" if lock.retention is None else lock.retention.stored}


@given(LOCKS, MOMENTS, st.lists(st.tuples(st.none() | RETENTIONS, st.booleans(), st.integers(0, 10**8))))
def test_under_compliance_no_changes_open_a_version_before_its_time(
    lock: ObjectLock, now: int, changes: list[tuple[Retention | None, bool, int]]
) -> None:
    """Whoever asks for whatever, and in whatever order."""
    first = lock.retention
    for wanted, bypasses, later in changes:
        now += later
        if not lock.refuses(wanted, now, bypasses=bypasses):
            lock = ObjectLock(wanted, lock.hold)
    if first is not None and first.mode is RetentionMode.COMPLIANCE and now < first.until:
        assert lock.protects(now, bypasses=True)


@given(LOCKS, MOMENTS, st.none() | RETENTIONS)
def test_without_a_special_right_retentions_only_get_longer(
    lock: ObjectLock, now: int, wanted: Retention | None
) -> None:
    present = lock.retention
    if present is not None and now < present.until and not lock.refuses(wanted, now):
        assert wanted is not None
        assert wanted.mode is present.mode
        assert wanted.until >= present.until


@given(LOCKS, MOMENTS)
def test_what_protects(lock: ObjectLock, now: int) -> None:
    retention = lock.retention
    is_retained = retention is not None and now < retention.until
    assert lock.protects(now) is (lock.hold or is_retained)
    assert lock.protects(now, bypasses=True) is (
        lock.hold or (is_retained and retention is not None and retention.mode is RetentionMode.COMPLIANCE)
    )


@given(LOCKS)
def test_the_stored_form(lock: ObjectLock) -> None:
    assert lock_in(stored(lock)) == lock
    if lock.retention is not None:
        assert stored_retention(lock.retention.stored) == lock.retention


@given(st.dictionaries(st.sampled_from(LOCK_HEADERS), st.text(max_size=30), min_size=1), MOMENTS)
def test_what_cannot_be_read_protects(headers: dict[str, str], now: int) -> None:
    """Nobody writes such a thing; a later release might."""
    retention = headers.get(Sysmeta.LOCK_RETENTION)
    try:
        stored_retention(retention or "NONE")
    except ValueError:
        assert lock_in(headers).protects(now, bypasses=True)


@given(LOCKS, LOCKS, st.sets(st.sampled_from(LOCK_HEADERS)), MOMENTS, st.booleans())
def test_a_post_changes_of_a_lock_what_it_names_if_it_may(
    present: ObjectLock, wanted: ObjectLock, named: set[str], now: int, bypasses: bool
) -> None:
    posted = {name: value for name, value in stored(wanted).items() if name in named} | {"X-Object-Meta-A": "b"}
    merged = with_lock_of(stored(present) | {"X-Object-Meta-C": "d"}, posted)
    after = lock_in(merged)
    assert after.hold is (wanted.hold if Sysmeta.LOCK_HOLD in named else present.hold)
    assert after.retention == (wanted.retention if Sysmeta.LOCK_RETENTION in named else present.retention)
    assert merged.keys() == {*LOCK_HEADERS, "X-Object-Meta-A"}
    refused = is_refused(stored(present), posted, now, bypasses=bypasses)
    assert refused is (Sysmeta.LOCK_RETENTION in named and present.refuses(wanted.retention, now, bypasses=bypasses))


@given(DEFAULTS, st.floats(0, 4_000_000_000))
def test_defaults(default: DefaultRetention, made: float) -> None:
    assert stored_default(default.stored) == default
    retention = default.since(made)
    days = (retention.until - made) / 86_400
    assert retention.mode is default.mode
    low, high = (1, 1) if default.unit == "Days" else (365, 366)
    assert default.count * low <= days <= default.count * high + 1e-4 + 1


def test_a_bucket_without_a_default() -> None:
    assert stored_default("true") is None
    assert stored_default("") is None
