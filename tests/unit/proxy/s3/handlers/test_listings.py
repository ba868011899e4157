"""Listings: what is asked of them, how names and times are told, and that what is told is XML."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import unquote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.listings import asked_page, page_size, seconds_of, url_spelt
from objstore.proxy.s3.xml import escaped
from objstore.timestamps import Timestamp

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(NAMES)
def test_names_in_the_style_of_forms(name: str) -> None:
    spelt = url_spelt(name)
    assert unquote_plus(spelt) == name
    assert spelt.isascii() and escaped(spelt) == spelt
    assert spelt.count("/") == name.count("/")


def test_as_aws_spells_them() -> None:
    assert url_spelt("a b+(c)/ü") == "a+b%2B%28c%29/%C3%BC"


@given(st.text(st.characters(exclude_categories=("Cs",), min_codepoint=32, exclude_characters="\ufffe\uffff")))
def test_other_names_are_read_back_by_parsers(name: str) -> None:
    name += "\t\r\n<&>"
    assert etree.fromstring(f"<a>{escaped(name)}</a>".encode()).text == name


@given(st.integers(0, 4_000_000_000_00000))
def test_times_are_those_of_last_modified(ticks: int) -> None:
    stamp = Timestamp(ticks)
    told = seconds_of(stamp.isoformat)
    assert told.endswith(".000Z")
    moment = datetime.fromisoformat(told.removesuffix(".000Z"))
    assert moment.strftime("%a, %d %b %Y %H:%M:%S GMT") == stamp.http_date
    assert moment - datetime(1970, 1, 1) == timedelta(seconds=stamp.ceil_seconds)


@pytest.mark.parametrize(
    ("text", "size"), [(None, 1000), ("", 1000), ("0", 0), ("1", 1), ("999", 999), ("1001", 1000), ("2147483647", 1000)]
)
def test_sizes(text: str | None, size: int) -> None:
    assert page_size({} if text is None else {"max-keys": text}, "max-keys") == size


@pytest.mark.parametrize(
    "params",
    [
        {"max-keys": "-1"},
        {"max-keys": "x"},
        {"max-keys": "1.5"},
        {"max-keys": "2147483648"},
        {"max-keys": "9" * 5000},
        {"max-keys": "\u0663"},
        {"encoding-type": "xml"},
        {"prefix": "a\0"},
        {"marker": "\0"},
    ],
)
def test_what_is_refused(params: Mapping[str, str]) -> None:
    with pytest.raises(S3Error) as error:
        asked_page(params)
    assert error.value.code == "InvalidArgument"
