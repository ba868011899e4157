"""Object listings: every parameter, the three formats, and order."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from uuid import uuid4
from xml.etree import ElementTree

import pytest

from tests.functional.client import Client
from tests.functional.conftest import remove

NAMES = ["a", "a/b", "a/b/c", "a/b/d", "a/e", "f", "g/h", "photo--1", "photo--2", "z"]


@pytest.fixture(scope="module")
def full(client: Client) -> Iterator[str]:
    """A container with an object of each of NAMES."""
    name = f"l-{uuid4().hex[:12]}"
    client.put(name)
    for listed in NAMES:
        assert client.put(f"{name}/{listed}", listed.encode(), {"Content-Type": "text/x"}).status == 201
    yield name
    remove(client, name)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, NAMES),
        ({"limit": 3}, NAMES[:3]),
        ({"limit": 3, "marker": "a/b/c"}, ["a/b/d", "a/e", "f"]),
        ({"marker": "a/b/c", "end_marker": "f"}, ["a/b/d", "a/e"]),
        ({"prefix": "a/"}, ["a/b", "a/b/c", "a/b/d", "a/e"]),
        ({"prefix": "nothing"}, []),
        ({"delimiter": "/"}, ["a", "a/", "f", "g/", "photo--1", "photo--2", "z"]),
        ({"prefix": "a/", "delimiter": "/"}, ["a/b", "a/b/", "a/e"]),
        ({"prefix": "a/b/", "delimiter": "/"}, ["a/b/c", "a/b/d"]),
        ({"delimiter": "--"}, [*NAMES[:7], "photo--", "z"]),
        ({"delimiter": "/", "marker": "a/"}, ["f", "g/", "photo--1", "photo--2", "z"]),
        ({"delimiter": "/", "limit": 3}, ["a", "a/", "f"]),
        ({"path": ""}, ["a", "f", "photo--1", "photo--2", "z"]),
        ({"path": "a"}, ["a/b", "a/e"]),
        ({"path": "a/b"}, ["a/b/c", "a/b/d"]),
        ({"reverse": "yes"}, NAMES[::-1]),
        ({"reverse": "true", "marker": "a/e"}, ["a/b/d", "a/b/c", "a/b", "a"]),
        ({"reverse": "true", "marker": "f", "end_marker": "a/b"}, ["a/e", "a/b/d", "a/b/c"]),
        ({"reverse": "true", "delimiter": "/"}, ["z", "photo--2", "photo--1", "g/", "f", "a/", "a"]),
        ({"limit": 0}, []),
    ],
)
def test_parameters(client: Client, full: str, query: dict[str, str], expected: list[str]) -> None:
    assert client.names(full, **query) == expected
    plain = client.get(full, **query)
    assert plain.lines == expected
    assert plain.status == (200 if expected else 204)


def test_json_rows(client: Client, full: str) -> None:
    (row,) = client.rows(full, prefix="z")
    assert row["name"] == "z"
    assert row["hash"] == hashlib.md5(b"z").hexdigest()
    assert row["bytes"] == 1
    assert row["content_type"] == "text/x"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", row["last_modified"])


def test_xml_rows(client: Client, full: str) -> None:
    answer = client.get(full, format="xml", delimiter="/")
    assert answer.headers["content-type"] == "application/xml; charset=utf-8"
    root = ElementTree.fromstring(answer.body)
    assert (root.tag, root.attrib["name"]) == ("container", full)
    first = root[0]
    assert [child.tag for child in first] == ["name", "hash", "bytes", "content_type", "last_modified"]
    assert root[1].tag == "subdir"
    assert root[1].attrib["name"] == "a/"


def test_xml_leads_down_through_names_with_blanks_of_all_kinds(client: Client, container: str) -> None:
    name = "a\tb\nc\rd/e\t\n\r/f g"
    client.put(f"{container}/{name}", b"x")
    found, listed = "", [name]
    while not (found := _first_of_xml(client, container, found)).endswith("g"):
        listed.append(found)
    assert found == name
    assert listed[1:] == ["a\tb\nc\rd/", "a\tb\nc\rd/e\t\n\r/"]


def _first_of_xml(client: Client, container: str, prefix: str) -> str:
    """The first entry below a prefix, as a parser reads it."""
    entry = ElementTree.fromstring(client.get(container, format="xml", delimiter="/", prefix=prefix).body)[0]
    return entry.attrib["name"] if entry.tag == "subdir" else entry.findtext("name") or ""


def test_counts_come_with_every_listing(client: Client, full: str) -> None:
    for query in ({}, {"format": "json"}, {"format": "xml"}):
        headers = client.get(full, **query).headers
        assert headers["x-container-object-count"] == str(len(NAMES))
        assert headers["x-container-bytes-used"] == str(sum(map(len, NAMES)))


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json", "application/json; charset=utf-8"),
        ("text/xml", "text/xml; charset=utf-8"),
        ("*/*", "text/plain; charset=utf-8"),
        ("text/*;q=0.5, application/xml", "application/xml; charset=utf-8"),
    ],
)
def test_accept(client: Client, full: str, accept: str, content_type: str) -> None:
    answer = client.get(full, {"Accept": accept})
    assert answer.headers["content-type"] == content_type
    assert "accept" in answer.headers["vary"].lower()
    assert "vary" not in client.get(full, {"Accept": accept}, format="json").headers


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ({"limit": "10001"}, {}, 412),
        ({}, {"Accept": "image/png"}, 406),
    ],
)
def test_refusals(client: Client, full: str, query: dict[str, str], headers: dict[str, str], status: int) -> None:
    assert client.get(full, headers, **query).status == status


def test_bad_utf8_in_the_query_is_refused(client: Client, full: str) -> None:
    for parameter in ("prefix", "marker", "end_marker", "delimiter", "path"):
        assert client.raw("GET", f"/v1/{client.account}/{full}?{parameter}=%ff").status == 412


def test_an_unknown_format_is_plain(client: Client, full: str) -> None:
    answer = client.get(full, format="yaml")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


def test_order_is_that_of_the_utf8_bytes(client: Client, container: str) -> None:
    names = ["\U0001f600", "￿", "é", "Z", "a", "~", "0", "ﬀ"]
    for name in names:
        client.put(f"{container}/{name}")
    assert client.names(container) == sorted(names, key=lambda name: name.encode())


def test_a_listing_shows_what_was_acknowledged(client: Client, container: str) -> None:
    for number in range(20):
        assert client.put(f"{container}/{number:03}", b"x" * number).status == 201
        assert client.rows(container, prefix=f"{number:03}")[0]["bytes"] == number
    client.put(f"{container}/007", b"changed")
    assert client.rows(container, prefix="007")[0]["bytes"] == 7
    client.delete(f"{container}/007")
    assert "007" not in client.names(container)
    assert client.head(container).headers["x-container-object-count"] == "19"
