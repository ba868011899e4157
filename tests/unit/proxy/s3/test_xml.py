"""Documents of the S3 API."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from objstore.proxy.s3.xml import NAMESPACE, Element, MalformedDocument, document, parse

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffe\uffff"), max_size=40)


@given(TEXTS)
def test_what_is_written_is_read(text: str) -> None:
    """Also control characters, which XML itself cannot say."""
    root = Element("Delete")
    root.add("Key", text)
    assert parse(document(root, NAMESPACE), "Delete").needed("Key") == text


def test_text_is_escaped_for_any_parser() -> None:
    root = Element("Error", attributes={"a": '"<>'})
    root.add("Key", "a<b>&\"c'\r\n\t")
    tree = etree.fromstring(document(root))
    assert tree.findtext("Key") == "a<b>&\"c'\r\n\t"
    assert tree.get("a") == '"<>'


BOMB = b'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Key>&b;</Key></Delete>'
FILE = b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Key>&a;</Key></Delete>'


@pytest.mark.parametrize(
    "body",
    [
        BOMB,
        FILE,
        b"<!DOCTYPE Delete><Delete/>",
        b"<Delete>",
        b"",
        b"no document",
        b"<Other/>",
        b"<Delete>" * 20 + b"</Delete>" * 20,
        b"<Delete><?php x?></Delete>",
        b"<Delete>&undefined;</Delete>",
    ],
)
def test_what_is_not_a_plain_document_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedDocument):
        parse(body, "Delete")


def test_children_are_found_by_name_whatever_the_namespace() -> None:
    root = parse(b'<Delete xmlns="urn:x"><Quiet>true</Quiet><Object/><Object/></Delete>', "Delete")
    assert root.value("Quiet") == "true"
    assert len(root.all("Object")) == 2
    assert root.value("Nothing") is None
    with pytest.raises(MalformedDocument):
        root.find("Object")
    with pytest.raises(MalformedDocument):
        root.needed("Nothing")
