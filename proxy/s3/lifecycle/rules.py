"""The rules of a bucket's lifecycle: read from a document, which is checked, and what each rule is about. Pure.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from typing import Final

from msgspec import Struct

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.tags import KEY_LENGTH_MAX, VALUE_LENGTH_MAX
from objstore.proxy.s3.xml import Element, MalformedDocument, ReceivedElement, parse

RULES_MAX: Final = 1000
ID_LENGTH_MAX: Final = 255
NEWER_VERSIONS_MAX: Final = 100
DAYS_MAX: Final = 2**31 - 1
DAY_SECONDS: Final = 86_400
ROOT: Final = "LifecycleConfiguration"
_RULE_PARTS: Final = frozenset({"ID", "Status", "Filter", "Prefix"})
_ACTIONS: Final = frozenset({"Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"})
_TRANSITIONS: Final = frozenset({"Transition", "NoncurrentVersionTransition"})
_PREDICATES: Final = frozenset({"Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And"})


class RuleFilter(Struct, frozen=True):
    """Of which objects a rule is: all that is given must hold. Sizes are in bytes."""

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    larger_than: int | None = None
    smaller_than: int | None = None

    @property
    def is_by_object(self) -> bool:
        """Whether more than the name counts."""
        return bool(self.tags) or self.larger_than is not None or self.smaller_than is not None

    def has_name(self, name: str) -> bool:
        return name.startswith(self.prefix)

    def has_size(self, size: int) -> bool:
        return (self.larger_than is None or size > self.larger_than) and (
            self.smaller_than is None or size < self.smaller_than
        )

    def has_tags(self, tags: Mapping[str, str]) -> bool:
        return all(tags.get(key) == value for key, value in self.tags)


class LifecycleRule(Struct, frozen=True):
    """What happens to the objects of a filter; None for what does not.

    days, date: when what is current expires, so long after it was made or then (seconds since the epoch).
    expires_markers: a delete marker goes that is all there is of an object. noncurrent_days: a version goes so long
    after it was replaced, but for the `newer_versions` newest of those that were replaced. abort_days: an upload ends
    that was begun so long ago.
    """

    identifier: str
    enabled: bool
    filter: RuleFilter
    days: int | None = None
    date: int | None = None
    expires_markers: bool = False
    noncurrent_days: int | None = None
    newer_versions: int = 0
    abort_days: int | None = None

    def expiry_of(self, made: float) -> int | None:
        """When an object made then expires, None if never; in seconds since the epoch."""
        return self.date if self.days is None else due_at(made, self.days)


def due_at(moment: float, days: int) -> int:
    """So many days after a moment, and then at the next midnight (UTC)."""
    return -int(-moment // DAY_SECONDS) * DAY_SECONDS + days * DAY_SECONDS


def checked(root: ReceivedElement) -> Element:
    """The document to store: as it came, with names for the rules that have none. Raises S3Error, MalformedDocument."""
    rules = [_rule(each) for each in root]
    if not rules:
        raise S3Error("MalformedXML")
    if len(rules) > RULES_MAX:
        raise S3Error(
            "InvalidRequest", f"The number of lifecycle rules must not exceed the allowed limit of {RULES_MAX}"
        )
    named = [rule.identifier for rule in rules if rule.identifier]
    if len(set(named)) < len(named):
        raise S3Error("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")
    document = Element(ROOT)
    for number, each in enumerate(root):
        element = document.add("Rule")
        if not each.value("ID"):
            element.add("ID", sha256(f"{number} {rules[number]}".encode()).hexdigest()[:36])
        for part in each:
            if part.name != "ID" or part.text:
                element.append(_copied(part))
    return document


def _copied(received: ReceivedElement) -> Element:
    children = list(received)
    element = Element(received.name, "" if children else received.text)
    for child in children:
        element.append(_copied(child))
    return element


@lru_cache(maxsize=256)
def stored_rules(document: bytes) -> tuple[LifecycleRule, ...]:
    """The rules in force of a document that is stored."""
    return tuple(rule for each in parse(document, ROOT) if (rule := _rule(each)).enabled)


def _rule(element: ReceivedElement) -> LifecycleRule:
    """Raises S3Error, MalformedDocument."""
    names = {child.name for child in element}
    if element.name != "Rule" or names - _RULE_PARTS - _ACTIONS - _TRANSITIONS:
        raise S3Error("MalformedXML")
    if names & _TRANSITIONS:
        raise S3Error("NotImplemented", "Objects stay in the storage policy of their bucket: there are no transitions")
    identifier, status = element.value("ID") or "", element.needed("Status")
    if len(identifier) > ID_LENGTH_MAX:
        raise S3Error("InvalidArgument", f"ID length should not exceed allowed limit of {ID_LENGTH_MAX}")
    if status not in ("Enabled", "Disabled") or ("Filter" in names) is ("Prefix" in names):
        raise S3Error("MalformedXML")
    if not names & _ACTIONS:
        raise S3Error("InvalidRequest", "At least one action needs to be specified in a rule")
    found = element.find("Filter")
    wanted = RuleFilter(element.value("Prefix") or "") if found is None else _filter(found)
    days, date, expires_markers = _expiration(element.find("Expiration"), wanted)
    noncurrent_days, newer_versions = _noncurrent(element.find("NoncurrentVersionExpiration"))
    abort = element.find("AbortIncompleteMultipartUpload")
    if abort is not None and wanted.is_by_object:
        reason = "AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes"
        raise S3Error("InvalidRequest", reason)
    return LifecycleRule(
        identifier,
        status == "Enabled",
        wanted,
        days,
        date,
        expires_markers,
        noncurrent_days,
        newer_versions,
        None if abort is None else _positive(abort, "DaysAfterInitiation"),
    )


def _filter(element: ReceivedElement) -> RuleFilter:
    """Raises S3Error, MalformedDocument."""
    predicates = list(element)
    if len(predicates) > 1 or any(each.name not in _PREDICATES for each in predicates):
        raise S3Error("MalformedXML")
    both = element.find("And")
    if both is not None:
        element, predicates = both, list(both)
        if not predicates or any(each.name not in _PREDICATES - {"And"} for each in predicates):
            raise S3Error("MalformedXML")
    tags = tuple((tag.needed("Key"), tag.needed("Value")) for tag in element.all("Tag"))
    if any(not 0 < len(key) <= KEY_LENGTH_MAX or len(value) > VALUE_LENGTH_MAX for key, value in tags):
        raise S3Error("InvalidTag")
    if len(dict(tags)) < len(tags):
        raise S3Error("InvalidRequest", "Duplicate Tag Keys are not allowed.")
    larger, smaller = _size(element, "ObjectSizeGreaterThan"), _size(element, "ObjectSizeLessThan")
    if larger is not None and smaller is not None and larger >= smaller:
        raise S3Error("InvalidRequest", "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
    return RuleFilter(element.value("Prefix") or "", tags, larger, smaller)


def _expiration(element: ReceivedElement | None, wanted: RuleFilter) -> tuple[int | None, int | None, bool]:
    """Raises S3Error, MalformedDocument."""
    if element is None:
        return None, None, False
    if [child.name for child in element] not in (["Days"], ["Date"], ["ExpiredObjectDeleteMarker"]):
        raise S3Error("MalformedXML")
    if element.find("Days") is not None:
        return _positive(element, "Days"), None, False
    marker = element.value("ExpiredObjectDeleteMarker")
    if marker is None:
        return None, _midnight(element.needed("Date")), False
    if marker not in ("true", "false") or wanted.is_by_object:
        raise S3Error("MalformedXML")
    return None, None, marker == "true"


def _noncurrent(element: ReceivedElement | None) -> tuple[int | None, int]:
    """Raises S3Error, MalformedDocument."""
    if element is None:
        return None, 0
    newer = 0
    if element.find("NewerNoncurrentVersions") is not None:
        newer = _positive(element, "NewerNoncurrentVersions")
        if newer > NEWER_VERSIONS_MAX:
            reason = f"'NewerNoncurrentVersions' must be a positive integer of at most {NEWER_VERSIONS_MAX}"
            raise S3Error("InvalidArgument", reason)
    return _positive(element, "NoncurrentDays"), newer


def _midnight(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise S3Error("MalformedXML") from None
    seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    if seconds % DAY_SECONDS:
        raise S3Error("InvalidArgument", "'Date' must be at midnight GMT")
    return int(seconds)


def _positive(element: ReceivedElement, name: str) -> int:
    value = _number(element.needed(name))
    if not 0 < value <= DAYS_MAX:
        raise S3Error("InvalidArgument", f"'{name}' for {element.name} action must be a positive integer")
    return value


def _size(element: ReceivedElement, name: str) -> int | None:
    text = element.value(name)
    if text is None:
        return None
    value = _number(text)
    if value < (name == "ObjectSizeLessThan"):
        raise S3Error("InvalidRequest", f"'{name}' must not be negative, and nothing is smaller than 0 bytes")
    return value


def _number(text: str) -> int:
    """Raises MalformedDocument."""
    digits = text.strip()
    if not digits.removeprefix("-").isdecimal() or not digits.isascii() or len(digits) > 18:
        raise MalformedDocument(f"no number: {text[:32]!r}")
    return int(digits)
