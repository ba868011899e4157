"""Deletions of many objects: what documents name."""

from __future__ import annotations

import pytest

from objstore.conditions import WriteConditions
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.deletions import ITEMS_MAX, NamedItem, named_items
from objstore.proxy.s3.request import parsed

ITEM = "<Object><Key>k%d</Key></Object>"


def items_of(inner: str) -> tuple[list[NamedItem], bool]:
    return named_items(parsed(f"<Delete>{inner}</Delete>".encode(), "Delete"))


def test_what_is_named() -> None:
    inner = "<Object><Key>a&#x1;b</Key><VersionId>v</VersionId><ETag>&quot;e&quot;</ETag></Object><Quiet>true</Quiet>"
    items, quiet = items_of(inner)
    assert quiet
    assert items == [NamedItem("a\x01b", "v", WriteConditions(if_match=("e",)))]
    assert items_of("<Object><Key>a\x01b\t</Key></Object>") == ([NamedItem("a\x01b\t", None, None)], False)
    assert items_of(ITEM % 1) == ([NamedItem("k1", None, None)], False)


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("", "MalformedXML"),
        ("<Object/>", "MalformedXML"),
        ("<Object><Key/></Object>", "MalformedXML"),
        ("".join(ITEM % number for number in range(ITEMS_MAX + 1)), "MalformedXML"),
        ("<Object><Key>k</Key><Size>5</Size></Object>", "NotImplemented"),
    ],
    ids=["none", "no key", "empty key", "too many", "sizes"],
)
def test_what_is_refused(inner: str, code: str) -> None:
    with pytest.raises(S3Error) as caught:
        items_of(inner)
    assert caught.value.code == code
