"""What is due of an object by the rules of its bucket. Pure.

Of what is current all rules are considered, of the versions behind it too; what one rule wants to be gone goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final
from urllib.parse import quote

from msgspec import Struct

from objstore.proxy.s3.lifecycle.rules import LifecycleRule, due_at
from objstore.timestamps import Timestamp

LATEST_SECONDS: Final = 9_999_999_999


class ObjectVersion(Struct, frozen=True):
    """A version as lists tell it. made: in seconds since the epoch; etag: of what readers get."""

    version: str
    made: float
    etag: str = ""
    size: int = 0
    is_marker: bool = False


class DueAction(Struct, frozen=True):
    """What is to be done about a version: `removes` it for good, or delete the object of which it is the current one.

    while_current: the version that must still be current then, None for a delete marker.
    """

    version: ObjectVersion
    rule: str
    removes: bool
    while_current: ObjectVersion | None


def due_actions(
    name: str,
    versions: Sequence[ObjectVersion],
    rules: Sequence[LifecycleRule],
    now: float,
    tags_of: Callable[[ObjectVersion], Mapping[str, str]],
) -> Iterator[DueAction]:
    """What is due of an object; `versions` are all it has, the newest first. Tags are asked for only where needed."""
    wanted = [rule for rule in rules if rule.filter.has_name(name)]
    if not wanted or not versions:
        return
    current, *older = versions
    if current.is_marker:
        if not older and (rule := _due_marker(current, wanted, now)):
            yield DueAction(current, rule.identifier, True, None)
    else:
        for rule in wanted:
            expiry = rule.expiry_of(current.made)
            if expiry is not None and expiry <= now and _concerns(rule, current, tags_of):
                yield DueAction(current, rule.identifier, False, current)
                break
    yield from _due_older(versions, wanted, now, tags_of)


def _due_marker(marker: ObjectVersion, rules: Sequence[LifecycleRule], now: float) -> LifecycleRule | None:
    """The rule by which a delete marker goes that is all there is of its object."""
    for rule in rules:
        is_expired = rule.days is not None and not rule.filter.is_by_object and due_at(marker.made, rule.days) <= now
        if rule.expires_markers or is_expired:
            return rule
    return None


def _due_older(
    versions: Sequence[ObjectVersion],
    rules: Sequence[LifecycleRule],
    now: float,
    tags_of: Callable[[ObjectVersion], Mapping[str, str]],
) -> Iterator[DueAction]:
    wanted = [rule for rule in rules if rule.noncurrent_days is not None]
    if not wanted:
        return
    current = None if versions[0].is_marker else versions[0]
    newer = 0  # versions with content that were replaced later than the one that is looked at
    for successor, version in pairwise(versions):
        for rule in wanted:
            is_due = due_at(successor.made, rule.noncurrent_days or 0) <= now and newer >= rule.newer_versions
            if is_due and _concerns(rule, version, tags_of):
                yield DueAction(version, rule.identifier, True, current)
                break
        newer += not version.is_marker


def _concerns(
    rule: LifecycleRule, version: ObjectVersion, tags_of: Callable[[ObjectVersion], Mapping[str, str]]
) -> bool:
    """Whether a version has what the rule asks for beside the name; a delete marker has neither size nor tags."""
    wanted = rule.filter
    if version.is_marker:
        return not wanted.is_by_object
    return wanted.has_size(version.size) and (not wanted.tags or wanted.has_tags(tags_of(version)))


def expiration_header(
    rules: Sequence[LifecycleRule], name: str, size: int, made: float, tags: Mapping[str, str]
) -> dict[str, str]:
    """The header that tells when a current object expires, and by which rule; nothing if it does not."""
    due = [
        (expiry, rule.identifier)
        for rule in rules
        if rule.filter.has_name(name) and rule.filter.has_size(size) and rule.filter.has_tags(tags)
        if (expiry := rule.expiry_of(made)) is not None
    ]
    if not due:
        return {}
    expiry, identifier = min(due)
    return {"x-amz-expiration": f'expiry-date="{http_date(expiry)}", rule-id="{quote(identifier, safe="")}"'}


def abort_headers(rules: Sequence[LifecycleRule], name: str, begun: float) -> dict[str, str]:
    """The headers that tell when an upload is aborted, and by which rule; nothing if it is not."""
    due = [
        (due_at(begun, rule.abort_days), rule.identifier)
        for rule in rules
        if rule.abort_days is not None and rule.filter.has_name(name)
    ]
    if not due:
        return {}
    moment, identifier = min(due)
    return {"x-amz-abort-date": http_date(moment), "x-amz-abort-rule-id": quote(identifier, safe="")}


def http_date(seconds: int) -> str:
    """A moment as HTTP writes it, up to the year 2286."""
    return Timestamp.from_seconds(min(seconds, LATEST_SECONDS)).http_date
