"""Documents of the S3 API: written for answers, and read from requests without entities, definitions or network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from lxml import etree

from objstore.timestamps import Timestamp

NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
DEPTH_MAX: Final = 16
_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_SPECIAL: Final = re.compile('[&<>"\r\n\t\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]')
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


class MalformedDocument(ValueError):
    """What a client has sent is not a document of the kind that was expected."""


def escaped(text: str) -> str:
    """Text as it stands in a document.

    Carriage returns, line feeds and tabs are written as references: parsers turn the first into the second. So are
    control characters, which XML 1.0 cannot say at all: AWS does the same, and clients ask for encoding-type=url.
    """
    return _SPECIAL.sub(_reference, text) if _SPECIAL.search(text) else text


def readable(text: str) -> str:
    """Text without the characters that XML cannot say, where nobody needs them: parsers would refuse the document."""
    return _FORBIDDEN.sub("\ufffd", text)


def _reference(found: re.Match[str]) -> str:
    character = found.group()
    return _NAMED.get(character) or f"&#{ord(character)};"


class Element:
    """An element of an answer: its text or its children, in the order in which they were added."""

    __slots__ = ("_attributes", "_children", "_name", "_text")

    def __init__(self, name: str, text: str = "", attributes: dict[str, str] | None = None) -> None:
        self._name = name
        self._text = text
        self._attributes = attributes
        self._children: list[Element] = []

    def add(self, name: str, text: str | int = "", attributes: dict[str, str] | None = None) -> Element:
        """A new child with this text."""
        child = Element(name, str(text), attributes)
        self._children.append(child)
        return child

    def append(self, child: Element) -> None:
        self._children.append(child)

    def write(self, write: Callable[[str], None], extra: str = "") -> None:
        """The markup, piece by piece."""
        start = self._name + extra
        for name, value in (self._attributes or {}).items():
            start += f' {name}="{escaped(value)}"'
        if not self._children:
            write(f"<{start}>{escaped(self._text)}</{self._name}>" if self._text else f"<{start}/>")
            return
        write(f"<{start}>")
        for child in self._children:
            child.write(write)
        write(f"</{self._name}>")


def document(root: Element, namespace: str = "") -> bytes:
    """The whole answer; errors are in no namespace, all else in NAMESPACE."""
    pieces: list[str] = []
    root.write(pieces.append, f' xmlns="{namespace}"' if namespace else "")
    return _DECLARATION + "".join(pieces).encode()


def xml_date(timestamp: Timestamp) -> str:
    """A moment as documents have it: without a fraction, so that it is the one of Last-Modified."""
    return f"{Timestamp.from_seconds(timestamp.ceil_seconds).isoformat[:19]}.000Z"


class ReceivedElement:
    """An element of a request's document, whatever its namespace."""

    __slots__ = ("_element", "_hides")

    def __init__(self, element: etree._Element, *, hides: bool) -> None:
        self._element = element
        self._hides = hides  # whether control characters are hidden in texts

    @property
    def name(self) -> str:
        return etree.QName(self._element).localname

    @property
    def text(self) -> str:
        """The text, which is all that the element has. Raises MalformedDocument if it has children."""
        if len(self._element):
            raise MalformedDocument(f"{self.name} has text only")
        text = self._element.text or ""
        return text.translate(_SHOWN) if self._hides else text

    def attribute(self, name: str) -> str:
        """An attribute by its local name; "" if it is absent."""
        return next((str(value) for key, value in self._element.items() if etree.QName(key).localname == name), "")

    def __iter__(self) -> Iterator[ReceivedElement]:
        return (ReceivedElement(child, hides=self._hides) for child in self._element)

    def all(self, name: str) -> list[ReceivedElement]:
        return [child for child in self if child.name == name]

    def find(self, name: str) -> ReceivedElement | None:
        """The child of this name. Raises MalformedDocument if there are several."""
        found = self.all(name)
        if len(found) > 1:
            raise MalformedDocument(f"{name} stands more than once in {self.name}")
        return found[0] if found else None

    def value(self, name: str) -> str | None:
        """The text of the child of this name, None without one. Raises MalformedDocument."""
        child = self.find(name)
        return None if child is None else child.text

    def needed(self, name: str) -> str:
        """The text of a child that must be there. Raises MalformedDocument."""
        value = self.value(name)
        if value is None:
            raise MalformedDocument(f"{self.name} has no {name}")
        return value


# The control characters that XML 1.0 forbids: as references, and as some clients send them.
_CONTROL: Final = re.compile(
    rb"&#(?:x0*([1-9a-fA-F]|1[0-9a-fA-F])|0*([1-9]|[12][0-9]|3[01]));|([\x01-\x08\x0b\x0c\x0e-\x1f])"
)
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
# Stand for them while the parser, which refuses them, is at work: of a private use area.
_PRIVATE: Final = 0xF7000
_PRIVATE_START: Final = chr(_PRIVATE).encode()[:3]
_SHOWN: Final = {_PRIVATE + code: code for code in range(1, 0x20)}


def _hidden(found: re.Match[bytes]) -> bytes:
    hexadecimal, decimal, raw = found.groups()
    code = raw[0] if raw else int(hexadecimal, 16) if hexadecimal else int(decimal)
    return found.group() if code in (0x9, 0xA, 0xD) else chr(_PRIVATE + code).encode()


def parse(body: bytes, root: str) -> ReceivedElement:
    """The document of a request, whose root must have this name. Raises MalformedDocument.

    There are no entities or document types, and nothing is fetched. Control characters, which XML 1.0 forbids even as
    references and clients send for keys that hold them, are read as what they are.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True
    )
    hides = _PRIVATE_START not in body and not body.startswith(_UTF_16) and _CONTROL.search(body) is not None
    try:
        tree = etree.fromstring(_CONTROL.sub(_hidden, body) if hides else body, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise MalformedDocument(str(error)) from None
    if getattr(tree.getroottree().docinfo, "doctype", ""):
        raise MalformedDocument("no document types")
    _check(tree, 1)
    found = ReceivedElement(tree, hides=hides)
    if found.name != root:
        raise MalformedDocument(f"{found.name} instead of {root}")
    return found


def _check(element: etree._Element, depth: int) -> None:
    """Elements only, and not too deep."""
    if depth > DEPTH_MAX or not isinstance(element.tag, str):
        raise MalformedDocument("too deep, or not made of elements and text only")
    for child in element:
        _check(child, depth + 1)
