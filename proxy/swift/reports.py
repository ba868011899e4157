"""Reports: bodies that tell of work on many objects, in the format that the client accepts. Pure.

text/plain    "Name: value" a line, then "Errors:" and "name, reason" a line
JSON          an object of the same names; "Errors" is a list of [name, reason]
XML           an element whose children are the names in lower case
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import quote
from xml.sax.saxutils import escape

import msgspec

from objstore.proxy.swift.request import SwiftRequest

PLAIN: Final = "text/plain"
JSON: Final = "application/json"
XML: Final = "application/xml"
# In the order in which we would rather give them.
_OFFERED: Final = {PLAIN: PLAIN, JSON: JSON, XML: XML, "text/xml": XML}

# The name of an object and what went wrong with it.
Problem = tuple[str, str]


def report_type(request: SwiftRequest) -> str:
    """The format that the client accepts best, text if it accepts none of them."""
    offers = request.accept.acceptable_offers(list(_OFFERED))
    return _OFFERED[offers[0][0]] if offers else PLAIN


def report(content_type: str, root: str, fields: Mapping[str, str | int], problems: Sequence[Problem] = ()) -> bytes:
    """A report as one body; `root` is the name of XML's outermost element."""
    told = [(quote(name), reason) for name, reason in problems]
    if content_type == JSON:
        return msgspec.json.encode({**fields, "Errors": told})
    if content_type == XML:
        lines = [f"<{root}>"]
        for name, value in fields.items():
            tag = name.replace(" ", "_").lower()
            lines.append(f"<{tag}>{escape(str(value))}</{tag}>")
        lines.append("<errors>")
        for name, reason in told:
            lines.append(f"<object><name>{escape(name)}</name><status>{escape(reason)}</status></object>")
        return "\n".join([*lines, "</errors>", f"</{root}>", ""]).encode()
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\n".join([*lines, "Errors:", *(f"{name}, {reason}" for name, reason in told), ""]).encode()
