"""Listings as they are asked for."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import parse_qsl

import pytest

from objstore.image.model.attributes import BadValue
from objstore.image.model.listing import AttributeFilter, ListQuery, SortKey, parsed_query

SHOWN = AttributeFilter("os_hidden", "eq", False)
LAST = (SortKey("created_at", True), SortKey("id", True))


def query(text: str) -> ListQuery:
    return parsed_query(parse_qsl(text, keep_blank_values=True))


def test_nothing_asked() -> None:
    assert query("") == ListQuery((SHOWN,), sort=LAST)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name=in:x", ("name", "in", ("x",))),
        ('name=in:"a,b",c', ("name", "in", ("a,b", "c"))),
        ("name=plain,text", ("name", "eq", "plain,text")),
        ("status=in:saving,queued", ("status", "in", ("saving", "queued"))),
        ("size_min=5", ("size", "gte", 5)),
        ("size_max=9", ("size", "lte", 9)),
        ("protected=True", ("protected", "eq", True)),
        ("created_at=gt:2014-05-05T17:15:10Z", ("created_at", "gt", datetime(2014, 5, 5, 17, 15, 10))),
        ("updated_at=2014-05-05T19:15:10%2B02:00", ("updated_at", "eq", datetime(2014, 5, 5, 17, 15, 10))),
        ("owner=p", ("owner", "eq", "p")),
    ],
)
def test_filters(text: str, expected: tuple[str, str, object]) -> None:
    assert query(text).filters == (AttributeFilter(*expected), SHOWN)


def test_properties_tags_and_the_rest() -> None:
    asked = query("colour=red&tag=a&tag=b&visibility=all&member_status=pending&limit=5000&marker=m&os_hidden=true")
    assert asked.properties == (("colour", "red"),)
    assert (asked.tags, asked.visibility, asked.member_status) == (("a", "b"), "all", "pending")
    assert (asked.limit, asked.marker, asked.filters) == (1000, "m", (AttributeFilter("os_hidden", "eq", True),))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sort=name:asc,size", (SortKey("name", False), SortKey("size", True), *LAST)),
        ("sort_key=name&sort_dir=asc", (SortKey("name", False), *LAST)),
        ("sort_key=name&sort_key=size&sort_dir=asc", (SortKey("name", False), SortKey("size", False), *LAST)),
        ("sort_dir=asc", (SortKey("created_at", False), LAST[1])),
        ("sort=id:asc,id:desc", (SortKey("id", False), LAST[0])),
    ],
)
def test_sorting(text: str, expected: tuple[SortKey, ...]) -> None:
    assert query(text).sort == expected


@pytest.mark.parametrize(
    "text",
    [
        "changes-since=2014-05-05",
        "limit=-1",
        "limit=x",
        "size_min=x",
        "protected=maybe",
        "status=broken",
        "status=in:active,broken",
        "visibility=mine",
        "member_status=perhaps",
        "created_at=gt:yesterday",
        "name=in:",
        'name=in:"a',
        "name=in:a,,b",
        "sort=colour",
        "sort=name:up",
        "sort=name&sort_key=id",
        "sort_key=name&sort_dir=asc&sort_dir=asc",
        "&".join(f"p{number}=1" for number in range(101)),
    ],
)
def test_bad_queries(text: str) -> None:
    with pytest.raises(BadValue):
        query(text)
