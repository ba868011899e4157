"""Preconditions (RFC 9110, section 13): those of GET and HEAD, and how those of writes are spelt. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

from objstore.conditions import WriteConditions
from objstore.headers import Backend, Client
from objstore.timestamps import Timestamp

# One validator of a list. What is quoted may hold commas; quotes inside a bare one are its own.
_ITEM: Final = re.compile(r'(?P<weak>W/)?(?:"(?P<quoted>[^"]*)"|(?P<bare>[^\s,"][^\s,]*))')
# What this store makes; clients of the Swift API send it without quotes.
OWN_ETAG: Final = re.compile(r"[0-9a-f]{32}(?:-[0-9]+)?")
_LISTED: Final = re.compile(rf"\s*{_ITEM.pattern}\s*(?:,\s*|$)")

Header = Callable[[str], str | None]


def evaluate(header: Header, etag: str, last_modified: str) -> Literal[304, 412] | None:
    """Whether an existing resource is to be sent (None), or which status answers instead.

    `header` gives the value of a request header or None, `etag` is bare, `last_modified` is shown as Last-Modified.
    Dates that are none are ignored.

    Who sends both If-Match and If-Unmodified-Since gets what fits both. RFC 9110 (section 13.2.2) would look at the
    first alone, but clients of the Swift API rely on the second, and it is the safer reading.
    """
    match = header(Client.IF_MATCH)
    if match is not None and not lists_etag(match, etag, weak=False):
        return 412
    since = header(Client.IF_UNMODIFIED_SINCE)
    if since is not None:
        limit = parse_http_date(since)
        if limit is not None and (parse_http_date(last_modified) or 0) > limit:
            return 412
    none_match = header(Client.IF_NONE_MATCH)
    if none_match is not None:
        if lists_etag(none_match, etag, weak=True):
            return 304
    elif (since := header(Client.IF_MODIFIED_SINCE)) is not None:
        limit = parse_http_date(since)
        if limit is not None and (parse_http_date(last_modified) or 0) <= limit:
            return 304
    return None


def range_applies(header: Header, etag: str, last_modified: str) -> bool:
    """Whether an If-Range, if there is one, names what is stored by its ETag or its Last-Modified.

    It holds one validator, and a weak one never matches (section 13.1.5): parts of two bodies must not be put together.
    """
    validator = header(Client.IF_RANGE)
    if validator is None or validator == last_modified:
        return True
    item = _ITEM.fullmatch(validator.strip())
    return item is not None and not item["weak"] and validator.strip() != "*" and _tag_of(item) == etag


def lists_etag(value: str, etag: str, *, weak: bool) -> bool:
    """Whether an If-Match or If-None-Match is "*" or lists the ETag, quoted or, as many clients have it, bare.

    Weak validators (W/"...") count for If-None-Match, which compares weakly, and not for If-Match (RFC 9110, section
    13.1.1 and 13.1.2).
    """
    if value.strip() == "*":
        return True
    return any(_tag_of(item) == etag and (weak or not item["weak"]) for item in _ITEM.finditer(value))


def _tag_of(item: re.Match[str]) -> str:
    quoted, bare = item["quoted"], item["bare"]
    return bare if quoted is None else quoted


def parse_http_date(text: str) -> int | None:
    """Seconds since the epoch of an HTTP date in any of its three forms; None if it is none."""
    try:
        moment = parsedate_to_datetime(text)
        # Without a zone it is UTC all the same: asctime dates never have one.
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def parse_write_conditions(header: Header) -> WriteConditions:
    """The conditions in the headers of a write, as clients or our own servers send them.

    Raises ValueError for one that cannot be read: a write must not be done because its condition was passed over.
    """
    none_match, since = header(Client.IF_NONE_MATCH), header(Client.IF_UNMODIFIED_SINCE)
    size = header(Backend.IF_SIZE)
    is_any = none_match is not None and none_match.strip() == "*"
    limit = None if since is None else parse_http_date(since)
    if since is not None and limit is None:
        raise ValueError(f"{Client.IF_UNMODIFIED_SINCE} must be a date")
    return WriteConditions(
        if_absent=is_any,
        if_match=_etags_in(Client.IF_MATCH, header(Client.IF_MATCH), weak=False),
        if_none_match=() if is_any else _etags_in(Client.IF_NONE_MATCH, none_match, weak=True),
        if_version=header(Backend.IF_VERSION) or "",
        if_unmodified_since=limit,
        if_size=None if size is None else int(size),
    )


def _etags_in(name: str, value: str | None, *, weak: bool) -> tuple[str, ...]:
    """The ETags of a header, bare; weak ones only as far as they count. Raises ValueError."""
    if value is None:
        return ()
    if value.strip() == "*":
        return ("*",)
    found, position = [], 0
    while position < len(value):
        item = _LISTED.match(value, position)
        if item is None or (item["bare"] and not OWN_ETAG.fullmatch(item["bare"])):
            break
        found.append(_tag_of(item) if weak or not item["weak"] else f'W/"{_tag_of(item)}"')
        position = item.end()
    if not found or position < len(value) or "*" in found:
        raise ValueError(f"{name} must be * or a list of quoted ETags")
    return tuple(found)


def write_condition_headers(conditions: WriteConditions) -> dict[str, str]:
    """The headers in which `parse_write_conditions` finds these conditions."""
    headers = {}
    for name, etags in (
        (Client.IF_MATCH, conditions.if_match),
        (Client.IF_NONE_MATCH, ("*",) if conditions.if_absent else conditions.if_none_match),
    ):
        if etags:
            headers[name] = ", ".join(each if each == "*" or each.startswith('W/"') else f'"{each}"' for each in etags)
    if conditions.if_version:
        headers[Backend.IF_VERSION] = conditions.if_version
    if conditions.if_unmodified_since is not None:
        headers[Client.IF_UNMODIFIED_SINCE] = Timestamp.from_seconds(conditions.if_unmodified_since).http_date
    if conditions.if_size is not None:
        headers[Backend.IF_SIZE] = str(conditions.if_size)
    return headers
