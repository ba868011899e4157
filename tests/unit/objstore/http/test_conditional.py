"""Preconditions, one by one and in their order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given

from objstore.conditions import WriteConditions
from objstore.http.conditional import (
    evaluate,
    parse_http_date,
    parse_write_conditions,
    range_applies,
    write_condition_headers,
)
from tests.unit.objstore.test_conditions import CONDITIONS

ETAG = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
MODIFIED = 1_400_000_000
SAME = "Tue, 13 May 2014 16:53:20 GMT"
BEFORE = "Tue, 13 May 2014 16:53:19 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"If-Match": ETAG}, None),
        ({"If-Match": f'"{ETAG}"'}, None),
        ({"If-Match": "*"}, None),
        ({"If-Match": f'"{OTHER}", "{ETAG}"'}, None),
        ({"If-Match": f"{OTHER},{ETAG}"}, None),
        # Weak validators never match strongly, and quotes keep what is in them together.
        ({"If-Match": f'W/"{ETAG}"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Match": f'"{OTHER}", W/"{ETAG}"'}, 412),
        ({"If-Match": f'W/"{ETAG}", "{ETAG}"'}, None),
        ({"If-Match": f'"{OTHER},{ETAG}"'}, 412),
        ({"If-Match": '"*"'}, 412),
        ({"If-Match": OTHER}, 412),
        ({"If-Match": f'not-"{ETAG}"'}, 412),
        ({"If-Match": ""}, 412),
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f'W/"{ETAG}"'}, 304),
        ({"If-None-Match": f'"{OTHER}",W/"{ETAG}"'}, 304),
        ({"If-None-Match": f'"{OTHER},{ETAG}"'}, None),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": OTHER}, None),
        ({"If-Modified-Since": SAME}, 304),
        ({"If-Modified-Since": BEFORE}, None),
        ({"If-Modified-Since": "no date"}, None),
        ({"If-Unmodified-Since": SAME}, None),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Unmodified-Since": "no date"}, None),
        ({"If-None-Match": OTHER, "If-Modified-Since": SAME}, None),
        ({"If-Match": ETAG, "If-Unmodified-Since": SAME}, None),
        ({"If-Match": ETAG, "If-Unmodified-Since": BEFORE}, 412),
        ({"If-Match": OTHER, "If-Unmodified-Since": SAME}, 412),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, 304),
        ({"If-Match": OTHER, "If-None-Match": ETAG}, 412),
    ],
)
def test_preconditions(headers: dict[str, str], expected: int | None) -> None:
    assert evaluate(headers.get, ETAG, SAME) == expected


@pytest.mark.parametrize(
    ("validator", "applies"),
    [
        (None, True),
        (f'"{ETAG}"', True),
        (ETAG, True),
        (SAME, True),
        (BEFORE, False),
        (f'"{OTHER}"', False),
        ("*", False),
        (f'W/"{ETAG}"', False),
        (f"W/{ETAG}", False),
        (f'"{OTHER}", "{ETAG}"', False),
        (f'"{ETAG}", "{ETAG}"', False),
    ],
)
def test_ranges_of_what_is_still_the_same(validator: str | None, applies: bool) -> None:
    headers = {} if validator is None else {"If-Range": validator}
    assert range_applies(headers.get, ETAG, SAME) is applies


@pytest.mark.parametrize("text", [SAME, "Tuesday, 13-May-14 16:53:20 GMT", "Tue May 13 16:53:20 2014"])
def test_dates_come_in_three_forms(text: str) -> None:
    assert parse_http_date(text) == MODIFIED


@pytest.mark.parametrize("text", ["", "x", "Tue, 99 May 2014 16:53:20 GMT", "1400000000", "9" * 99])
def test_other_dates_are_none(text: str) -> None:
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, WriteConditions()),
        ({"If-None-Match": " * "}, WriteConditions(if_absent=True)),
        ({"If-None-Match": ETAG}, WriteConditions(if_none_match=(ETAG,))),
        ({"If-None-Match": f'W/"{ETAG}", "x,y"'}, WriteConditions(if_none_match=(ETAG, "x,y"))),
        ({"If-Match": "*"}, WriteConditions(if_match=("*",))),
        ({"If-Match": f"{ETAG},{OTHER}-12"}, WriteConditions(if_match=(ETAG, f"{OTHER}-12"))),
        ({"If-Match": f'W/"{ETAG}"'}, WriteConditions(if_match=(f'W/"{ETAG}"',))),
        ({"If-Unmodified-Since": SAME}, WriteConditions(if_unmodified_since=MODIFIED)),
        ({"X-Backend-If-Size": "0", "X-Backend-If-Version": "null"}, WriteConditions(if_version="null", if_size=0)),
    ],
)
def test_conditions_of_writes(headers: dict[str, str], expected: WriteConditions) -> None:
    assert parse_write_conditions(headers.get) == expected


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize(
    "value", ["", " ", "abc", ",", f'"{ETAG}', f'{ETAG}"', f'"{ETAG}" "{OTHER}"', f'*, "{ETAG}"', f"{ETAG}, *", '"*"']
)
def test_no_condition_of_a_write_is_passed_over(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        parse_write_conditions({name: value}.get)


def test_no_date_is_a_condition_of_a_write() -> None:
    with pytest.raises(ValueError, match="date"):
        parse_write_conditions({"If-Unmodified-Since": "soon"}.get)


@given(CONDITIONS)
def test_conditions_go_through_headers(conditions: WriteConditions) -> None:
    if conditions.if_absent:  # it says all that a list of ETags could
        conditions = msgspec.structs.replace(conditions, if_none_match=())
    assert parse_write_conditions(write_condition_headers(conditions).get) == conditions
