"""Text in XML documents: the one function that escapes names and values, in attributes and in elements alike."""

from __future__ import annotations

import re
from typing import Final

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

_ESCAPES: Final = {
    # XML 1.0 cannot carry these characters, escaped or not (section 2.2): a document that holds one is not XML.
    **dict.fromkeys((*range(32), 65534, 65535), "�"),
    # A parser makes a blank of a raw one in an attribute (3.3.3), and a newline of a raw carriage return (2.11).
    **{ord(character): f"&#{ord(character)};" for character in "\t\n\r"},
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
}
_needs_escape: Final = re.compile("[" + re.escape("".join(map(chr, _ESCAPES))) + "]").search


def escaped(text: str) -> str:
    """Text as it stands between tags, or between double quotes; what XML cannot carry becomes U+FFFD."""
    return text.translate(_ESCAPES) if _needs_escape(text) else text
