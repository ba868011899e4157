"""Listings as documents: from the page that the database renders to the body of the answer."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from objstore.db.listing import Format

CONTENT_TYPES: Final = {
    Format.PLAIN: "text/plain; charset=utf-8",
    Format.JSON: "application/json; charset=utf-8",
    Format.XML: "application/xml; charset=utf-8",
}

_rows: Final = msgspec.json.Decoder(list[dict[str, Any]])
_ESCAPES: Final = {
    # XML 1.0 has no way to write these: a document that holds one is no XML at all.
    **{code: "\ufffd" for code in (*range(0x20), 0xFFFE, 0xFFFF) if chr(code) not in "\t\n\r"},
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    ord("\r"): "&#13;",
}
_needs_escape: Final = re.compile("[" + re.escape("".join(map(chr, _ESCAPES))) + "]").search


def xml_document(page: bytes, kind: str, name: str, element: str) -> bytes:
    """A page in JSON as XML: <kind name="..."> around an `element` for each row, a child for each of its fields."""
    parts = [f'<?xml version="1.0" encoding="UTF-8"?>\n<{kind} name="{_escaped(name)}">']
    for row in _rows.decode(page):
        subdir = row.get("subdir")
        if subdir is not None:
            escaped = _escaped(subdir)
            parts.append(f'<subdir name="{escaped}"><name>{escaped}</name></subdir>')
            continue
        parts.append(f"<{element}>")
        parts += [f"<{key}>{_escaped(str(value))}</{key}>" for key, value in row.items()]
        parts.append(f"</{element}>")
    parts.append(f"</{kind}>")
    return "".join(parts).encode()


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES) if _needs_escape(text) else text
