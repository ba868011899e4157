"""What a real parser reads of an XML listing is what was listed."""

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from objstore.db.listing import xml_document
from objstore.xmltext import escaped

FORBIDDEN = "".join(map(chr, (*(code for code in range(0x20) if code not in (9, 10, 13)), 0xFFFE, 0xFFFF)))
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=FORBIDDEN), min_size=1)


@given(texts, texts, texts)
@example("a\tb\nc\rd\r\n", "\t/\n", " \x7f\x85\u2028<&>\"']]>")
def test_names_come_back_from_attributes_and_elements(container: str, subdir: str, name: str) -> None:
    page = msgspec.json.encode([{"subdir": subdir}, {"name": name, "bytes": 1}])
    root = etree.fromstring(xml_document(page, "container", container, "object"))
    assert root.get("name") == container
    assert (root[0].get("name"), root[0].findtext("name")) == (subdir, subdir)
    assert (root[1].findtext("name"), root[1].findtext("bytes")) == (name, "1")


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example(FORBIDDEN)
def test_what_xml_cannot_carry_is_replaced(text: str) -> None:
    expected = "".join("\ufffd" if character in FORBIDDEN else character for character in text)
    document = f'<a b="{escaped(text)}">{escaped(text)}</a>'.encode()
    root = etree.fromstring(document)
    assert (root.get("b"), root.text or "") == (expected, expected)
