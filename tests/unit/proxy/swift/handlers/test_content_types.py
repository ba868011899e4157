"""Headers that are stored with objects: which ones, and in what form."""

from __future__ import annotations

import pytest

from objstore.container.rows import split_listed_size
from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a/c/o.txt"


def sent_type(method: str, given: str) -> str | None:
    """The type that object servers are told."""
    store = ScriptedStore()
    store.otherwise = Reply(201)
    assert store.send(method, PATH, {"Content-Type": given}).status < 300
    return store.calls()[0].headers.get("Content-Type")


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("text/plain;swift_bytes=99", "text/plain"),
        ("text/plain; swift_bytes=99", "text/plain"),
        ("text/plain ;swift_bytes=99; charset=utf-8", "text/plain ; charset=utf-8"),
        ("text/plain;charset=utf-8;swift_bytes=1;swift_other=2", "text/plain;charset=utf-8"),
        ('text/plain;swift_bytes="1;2"', "text/plain"),
        ('text/plain;a="b;swift_bytes=9"', 'text/plain;a="b;swift_bytes=9"'),
        ('text/plain;a="b;swift_bytes=9', 'text/plain;a="b'),
        ('text/plain;a="\\"";swift_bytes=9', 'text/plain;a="\\""'),
        ('text/plain;a="\\";swift_bytes=9', 'text/plain;a="\\"'),
        (";swift_bytes=9", "text/plain"),
        ("x-swift_bytes/y", "x-swift_bytes/y"),
    ],
)
def test_no_client_says_what_size_is_listed(method: str, given: str, stored: str) -> None:
    assert sent_type(method, given) == stored
    assert split_listed_size(stored) == (stored, None)


def test_a_post_does_not_make_a_large_object() -> None:
    store = ScriptedStore()
    store.otherwise = Reply(202)
    assert store.send("POST", PATH, {"X-Static-Large-Object": "True"}).status == 202
    assert "X-Static-Large-Object" not in store.calls()[0].headers


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_types_are_utf8(method: str) -> None:
    store = ScriptedStore()
    store.otherwise = Reply(201)
    assert store.send(method, PATH, {"Content-Type": "text/\xff"}).status == 400
    assert store.calls() == []
    name = "text/plain; title=ä".encode().decode("latin-1")
    assert sent_type(method, name) == name
