"""Manifests as clients send them: what is refused, and which parts they make."""

from __future__ import annotations

import base64
import json
from hashlib import md5
from typing import Any

import pytest

from objstore.http.errors import HttpError
from objstore.paths import ResourcePath
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.manifest import Part, manifest_metadata
from objstore.proxy.swift.handlers.manifest_input import (
    SEGMENTS_MAX,
    Segment,
    etag_of,
    object_part,
    parse_segments,
    raw_manifest,
    segments_of,
)

TARGET = ResourcePath("a", "c", "whole")
INFO = StoredObjectInfo(10, "e" * 32, "text/x", "1600000000.00000", "Sun, 13 Sep 2020 12:26:40 GMT")


def parse(*items: Any) -> list[Segment]:
    return parse_segments(json.dumps(list(items)).encode(), TARGET)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (5, "not a JSON object"),
        ({}, "path"),
        ({"path": "/c/o", "colour": 1}, "extraneous"),
        ({"path": 7}, "string"),
        ({"path": "/c"}, "/container/object"),
        ({"path": "/c/"}, "/container/object"),
        ({"path": "/c/o\0"}, "/container/object"),
        ({"path": "/c/whole"}, "itself"),
        ({"path": "/c/o", "etag": 5}, "etag"),
        ({"path": "/c/o", "size_bytes": "x"}, "size_bytes"),
        ({"path": "/c/o", "size_bytes": 0}, "at least 1 byte"),
        ({"path": "/c/o", "size_bytes": True}, "at least 1 byte"),
        ({"path": "/c/o", "range": "x"}, "range"),
        ({"path": "/c/o", "range": 5}, "range"),
        ({"path": "/c/o", "range": "1-2,4-5"}, "multiple ranges"),
        ({"path": "/c/o", "range": "9-", "size_bytes": 5}, "unsatisfiable"),
        ({"data": "?"}, "base64"),
        ({"data": 5}, "base64"),
        ({"data": ""}, "at least 1 byte"),
        ({"data": "eA==", "path": "/c/o"}, "extraneous"),
    ],
)
def test_what_is_no_segment(item: Any, reason: str) -> None:
    with pytest.raises(HttpError, match=reason) as caught:
        parse({"path": "/c/o"}, item)
    assert caught.value.status == 400
    assert "Index 1:" in caught.value.reason


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{}", b'"text"', b"[]", b'[{"data": "eA=="}]'])
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        parse_segments(content, TARGET)
    assert caught.value.status == 400


def test_no_more_segments_than_so_many() -> None:
    data = {"data": "eA=="}
    assert len(parse(*[{"path": "c/o"}] * SEGMENTS_MAX, data)) == SEGMENTS_MAX + 1
    with pytest.raises(HttpError) as caught:
        parse(*[{"path": "c/o"}] * (SEGMENTS_MAX + 1))
    assert caught.value.status == 413


def test_a_segment_is_compared_with_what_is_stored() -> None:
    path = ResourcePath("a", "c", "o")
    (segment,) = parse({"path": "c/o", "etag": f'"{INFO.etag}"', "size_bytes": "10"})
    part = object_part(segment, path, INFO)
    assert part == Part("/c/o", INFO.etag, 10, "", "text/x", "2020-09-13T12:26:40.000000")
    for other, reason in (
        ({"etag": "f" * 32}, "Etag Mismatch"),
        ({"size_bytes": 9}, "Size Mismatch"),
        ({"range": "10-"}, "Unsatisfiable Range"),
    ):
        (segment,) = parse({"path": "c/o"} | other)
        with pytest.raises(ValueError, match=reason):
            object_part(segment, path, INFO)


def test_ranges_are_kept_as_first_and_last() -> None:
    path = ResourcePath("a", "c", "o")
    spans = {"-3": "7-9", "4-": "4-9", "2-99": "2-9", "0-9": "", "-99": ""}
    for asked, kept in spans.items():
        (segment,) = parse({"path": "c/o", "range": asked})
        assert object_part(segment, path, INFO).range == kept


def test_a_manifest_as_a_segment_is_what_it_makes() -> None:
    metadata = manifest_metadata(StoredMetadata(), 500, "made")
    info = StoredObjectInfo(10, "own", "text/x", "1.00000", "", None, metadata, stands_for_others=True)
    part = object_part(Segment("/c/o", "made", 500), ResourcePath("a", "c", "o"), info)
    assert (part.etag, part.size, part.is_manifest) == ("made", 500, True)


def test_the_etag_is_of_the_segments_etags() -> None:
    inline = md5(b"x").hexdigest()
    parts = [Part("/c/o", "aa", 9), Part("/c/o", "aa", 9, "1-2"), Part(data=b"x")]
    assert etag_of(parts) == md5(f"aaaa:1-2;{inline}".encode()).hexdigest()


def test_the_raw_form_can_be_sent_again() -> None:
    parts = [Part("/c/o", "aa", 9, content_type="text/x"), Part("/c/p", "bb", 9, "1-2"), Part(data=b"x")]
    assert json.loads(raw_manifest(parts)) == [
        {"path": "/c/o", "etag": "aa", "size_bytes": 9},
        {"path": "/c/p", "etag": "bb", "size_bytes": 9, "range": "1-2"},
        {"data": base64.b64encode(b"x").decode()},
    ]
    assert parse_segments(raw_manifest(parts), TARGET) == segments_of(parts)
