"""What is due of an object, and when: AWS's rounding, markers, versions that are kept behind the current one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.s3.lifecycle.decisions import (
    DueAction,
    ObjectVersion,
    abort_headers,
    due_actions,
    expiration_header,
)
from objstore.proxy.s3.lifecycle.rules import DAY_SECONDS, LifecycleRule, RuleFilter, due_at

DAY = float(DAY_SECONDS)
NOW = 1000 * DAY
ALL = RuleFilter()


def rule(filter: RuleFilter = ALL, **wanted: object) -> LifecycleRule:
    return LifecycleRule("r", True, filter, **wanted)  # type: ignore[arg-type]


def version(age: float, name: str = "", **fields: object) -> ObjectVersion:
    """One that was made so many days before NOW."""
    return ObjectVersion(name or f"v{age}", NOW - age * DAY, **fields)  # type: ignore[arg-type]


def marker(age: float) -> ObjectVersion:
    return version(age, is_marker=True)


def due(
    versions: Sequence[ObjectVersion], *rules: LifecycleRule, tags: Mapping[str, str] | None = None, name: str = "k"
) -> list[tuple[str, bool]]:
    found = due_actions(name, versions, rules, NOW, lambda _version: tags or {})
    return [(each.version.version, each.removes) for each in found]


@pytest.mark.parametrize(
    ("made", "days", "expected"),
    [
        ("2026-01-15T10:30:00", 3, "2026-01-19T00:00:00"),
        ("2026-01-15T00:00:00", 3, "2026-01-18T00:00:00"),
        ("2026-01-15T00:00:01", 1, "2026-01-17T00:00:00"),
        ("2024-02-28T23:59:59", 1, "2024-03-01T00:00:00"),
    ],
)
def test_days_end_at_midnight(made: str, days: int, expected: str) -> None:
    moment = datetime.fromisoformat(made).replace(tzinfo=UTC).timestamp()
    assert datetime.fromtimestamp(due_at(moment, days), UTC).replace(tzinfo=None).isoformat() == expected


@given(st.integers(0, 4 * 10**14).map(lambda ticks: ticks / 100_000), st.integers(1, 36_500))
def test_never_too_soon_and_never_a_day_late(made: float, days: int) -> None:
    due_seconds = due_at(made, days)
    assert due_seconds % DAY_SECONDS == 0
    assert made + days * DAY <= due_seconds < made + (days + 1) * DAY


def test_what_is_current() -> None:
    assert due([version(4)], rule(days=4)) == [("v4", False)]
    assert due([version(3.9)], rule(days=4)) == []
    assert due([version(1)], rule(date=int(NOW))) == [("v1", False)]
    assert due([version(1)], rule(date=int(NOW) + 1)) == []
    assert due([version(9)], rule(RuleFilter("a/"), days=4)) == []
    assert due([version(9)], rule(RuleFilter("a/"), days=4), rule(RuleFilter("k"), days=5)) == [("v9", False)]


def test_sizes_and_tags() -> None:
    sized = RuleFilter(larger_than=5, smaller_than=10)
    assert [bool(due([version(9, size=size)], rule(sized, days=4))) for size in (5, 6, 9, 10)] == [
        False,
        True,
        True,
        False,
    ]
    tagged = RuleFilter(tags=(("a", "b"), ("c", "")))
    assert due([version(9)], rule(tagged, days=4), tags={"a": "b", "c": "", "d": "e"})
    assert due([version(9)], rule(tagged, days=4), tags={"a": "b"}) == []


def test_tags_are_asked_for_only_where_they_count() -> None:
    def ask(version: ObjectVersion) -> Mapping[str, str]:
        raise AssertionError(version)

    tagged = RuleFilter(tags=(("a", "b"),))
    assert list(due_actions("k", [version(3)], [rule(tagged, days=4), rule(days=9)], NOW, ask)) == []
    assert list(due_actions("x", [version(9)], [rule(RuleFilter("k", tags=(("a", "b"),)), days=4)], NOW, ask)) == []


def test_markers() -> None:
    assert due([marker(1)], rule(expires_markers=True)) == [("v1", True)]
    assert due([marker(1), version(5)], rule(expires_markers=True)) == []
    assert due([marker(4)], rule(days=4)) == [("v4", True)]
    assert due([marker(3)], rule(days=4)) == []
    assert due([marker(4)], rule(RuleFilter(larger_than=1), days=4)) == []
    assert due([marker(4), version(5)], rule(days=4)) == []


def test_versions_behind_the_current_one() -> None:
    """They count from when they were replaced."""
    versions = [version(1), version(3), version(5), marker(7), version(9)]
    assert due(versions, rule(noncurrent_days=4)) == [("v7", True), ("v9", True)]
    assert due(versions, rule(noncurrent_days=1)) == [(f"v{age}", True) for age in (3, 5, 7, 9)]
    assert due(versions, rule(noncurrent_days=1, newer_versions=1)) == [("v5", True), ("v7", True), ("v9", True)]
    assert due(versions, rule(noncurrent_days=1, newer_versions=2)) == [("v7", True), ("v9", True)]
    assert due([version(9)], rule(noncurrent_days=1)) == []


def test_each_action_names_what_must_still_be_current() -> None:
    def found(*versions: ObjectVersion) -> list[DueAction]:
        return list(due_actions("k", versions, [rule(noncurrent_days=1)], NOW, lambda _version: {}))

    assert found(version(2), version(3))[0].while_current == version(2)
    assert found(marker(2), version(3))[0].while_current is None


AGES = st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True).map(sorted)


@given(AGES, st.integers(1, 10), st.integers(0, 4))
def test_the_newest_replaced_versions_stay(ages: list[int], days: int, newer: int) -> None:
    versions = [version(age) for age in ages]
    gone = {name for name, _ in due(versions, rule(noncurrent_days=days, newer_versions=newer))}
    assert versions[0].version not in gone
    assert not gone.intersection(each.version for each in versions[1 : newer + 1])
    assert gone == {
        each.version
        for successor, each in zip(versions[newer:], versions[newer + 1 :], strict=False)
        if successor.made + days * DAY <= NOW
    }


def test_headers() -> None:
    rules = [rule(days=9), LifecycleRule("b/ü", True, ALL, days=2), rule(RuleFilter("x"), days=1)]
    header = expiration_header(rules, "k", 1, datetime(2026, 1, 15, 10, tzinfo=UTC).timestamp(), {})
    assert header == {"x-amz-expiration": 'expiry-date="Sun, 18 Jan 2026 00:00:00 GMT", rule-id="b%2F%C3%BC"'}
    assert expiration_header([rule(noncurrent_days=1)], "k", 1, NOW, {}) == {}
    begun = datetime(2026, 1, 15, 10, tzinfo=UTC).timestamp()
    assert abort_headers([rule(abort_days=2)], "k", begun) == {
        "x-amz-abort-date": "Sun, 18 Jan 2026 00:00:00 GMT",
        "x-amz-abort-rule-id": "r",
    }
    assert abort_headers([rule(RuleFilter("a"), abort_days=2)], "k", begun) == {}
