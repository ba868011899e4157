"""What a listing of images asks for: filters, order, page."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from objstore.image.model.attributes import BASE, MEMBER_STATUSES, VISIBILITIES, BadValue
from objstore.image.model.statuses import STATUSES

PAGE_DEFAULT: Final = 25
PAGE_MAX: Final = 1000
ALTERNATIVES_MAX: Final = 1000
SORT_KEYS: Final = frozenset(
    {"name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"}
)
SORT_KEYS_MAX: Final = len(SORT_KEYS)
SEVERAL: Final = frozenset({"id", "name", "status", "container_format", "disk_format"})  # take in:A,B
TIMES: Final = frozenset({"created_at", "updated_at"})
COMPARISONS: Final = frozenset({"gt", "gte", "eq", "neq", "lt", "lte"})
FLAGS: Final = frozenset({"protected", "os_hidden"})
NUMBERS: Final = frozenset({"size", "min_ram", "min_disk", "virtual_size"})
FILTERS_MAX: Final = 100


@dataclass(frozen=True)
class AttributeFilter:
    """Attribute `name` compares to the value as said: eq, neq, gt, gte, lt, lte, or `in` a tuple of values."""

    name: str
    comparison: str
    value: Any


@dataclass(frozen=True)
class SortKey:
    name: str
    descending: bool


@dataclass(frozen=True)
class ListQuery:
    """A listing as it was asked for. `visibility` "" is the default: all but other projects' community images."""

    filters: tuple[AttributeFilter, ...] = ()
    properties: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()
    visibility: str = ""
    member_status: str = "accepted"
    sort: tuple[SortKey, ...] = (SortKey("created_at", True),)
    limit: int = PAGE_DEFAULT
    marker: str = ""


def parsed_query(parameters: Iterable[tuple[str, str]]) -> ListQuery:
    """The query of a request's parameters. Raises BadValue."""
    given = list(parameters)
    if len(given) > FILTERS_MAX:
        raise BadValue(f"A listing takes at most {FILTERS_MAX} parameters.")
    filters: list[AttributeFilter] = []
    properties: list[tuple[str, str]] = []
    tags: list[str] = []
    other: dict[str, Any] = {}
    for name, value in given:
        if name == "tag":
            tags.append(value)
        elif name in ("sort", "sort_key", "sort_dir"):
            continue
        elif name in OTHERS:
            other[name] = OTHERS[name](value)
        elif name == "changes-since":
            raise BadValue("The 'changes-since' filter is not available in this version of the API.")
        elif name in BASE or name in ("size_min", "size_max"):
            filters.append(_filter(name, value))
        else:
            properties.append((name, value))
    if not any(each.name == "os_hidden" for each in filters):
        filters.append(AttributeFilter("os_hidden", "eq", False))
    return ListQuery(tuple(filters), tuple(properties), tuple(tags), sort=_sort(given), **other)


def _filter(name: str, value: str) -> AttributeFilter:
    comparison: str = "eq"
    result: Any = value
    if name in TIMES:
        comparison, _, text = value.partition(":") if value.partition(":")[0] in COMPARISONS else ("eq", "", value)
        result = parsed_time(text)
    elif name in ("size_min", "size_max"):
        name, comparison, result = "size", "gte" if name == "size_min" else "lte", _count(value, name)
    elif name in NUMBERS:
        result = _count(value, name)
    elif name in FLAGS:
        if value.lower() not in ("true", "false"):
            raise BadValue(f"Invalid value {value!r:.50} for filter '{name}': true or false.")
        result = value.lower() == "true"
    elif name in SEVERAL and value.startswith("in:"):
        comparison, result = "in", _alternatives(value[len("in:") :])
    if name == "status":
        unknown = set(result if comparison == "in" else [result]) - STATUSES
        if unknown:
            raise BadValue(f"Invalid status value: {', '.join(sorted(unknown)):.100}")
    return AttributeFilter(name, comparison, result)


def _alternatives(text: str) -> tuple[str, ...]:
    """A,B or "A,B",C: quotes keep a comma. Raises BadValue."""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise BadValue(f"Invalid filter value {text!r:.100}: {error}.") from error
    values = tuple(rows[0]) if rows else ()
    if not values or not all(values) or len(values) > ALTERNATIVES_MAX or text.count('"') % 2:
        raise BadValue(f"Invalid filter value {text!r:.100}: 1 to {ALTERNATIVES_MAX} values, commas between them.")
    return values


def parsed_time(text: str) -> datetime:
    """An ISO time, in UTC without saying so, as the records have it. Raises BadValue."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadValue(f"Invalid time {text!r:.50}: expected as 2014-05-05T17:15:10Z.") from error
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _count(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BadValue(f"Invalid value {text!r:.50} for '{name}': expected a number from 0.")
    return int(text)


def _limit(text: str) -> int:
    return min(_count(text, "limit"), PAGE_MAX)


def _visibility(text: str) -> str:
    if text not in (*VISIBILITIES, "all"):
        raise BadValue(f"Invalid visibility value: {text!r:.50}")
    return text


def _member_status(text: str) -> str:
    if text not in (*MEMBER_STATUSES, "all"):
        raise BadValue(f"Invalid status: {text!r:.50}; expected one of {', '.join(MEMBER_STATUSES)}, all.")
    return text


OTHERS: Final[dict[str, Callable[[str], Any]]] = {
    "limit": _limit,
    "marker": str,
    "visibility": _visibility,
    "member_status": _member_status,
}


def _sort(given: list[tuple[str, str]]) -> tuple[SortKey, ...]:
    """Either sort=KEY[:DIRECTION],... or sort_key and sort_dir, any number of each. Raises BadValue."""
    values = {name: [value for each, value in given if each == name] for name in ("sort", "sort_key", "sort_dir")}
    if values["sort"] and (values["sort_key"] or values["sort_dir"]):
        raise BadValue("Old and new sorting syntax cannot be combined.")
    if values["sort"]:
        pairs = [part.strip().partition(":")[::2] for text in values["sort"] for part in text.split(",")]
    else:
        keys, directions = values["sort_key"], values["sort_dir"]
        if len(directions) > max(len(keys), 1) or 1 < len(directions) < len(keys):
            raise BadValue("Number of sort dirs does not match the number of sort keys.")
        keys = keys or (["created_at"] if directions else [])
        directions = directions if len(directions) > 1 else directions * len(keys) or [""] * len(keys)
        pairs = list(zip(keys, directions, strict=True))
    sort: dict[str, SortKey] = {}
    for key, direction in pairs:
        if key not in SORT_KEYS or direction not in ("", "asc", "desc"):
            raise BadValue(f"Unsupported sort {key!r:.50} {direction!r:.20}; known are {', '.join(sorted(SORT_KEYS))}.")
        sort.setdefault(key, SortKey(key, direction != "asc"))
    for key in ("created_at", "id"):  # images of one moment have an order too, or a page would repeat some
        sort.setdefault(key, SortKey(key, True))
    return tuple(sort.values())
