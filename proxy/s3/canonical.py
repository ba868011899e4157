"""What a signature of version 4 covers: the canonical request, made of what came over the wire.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from objstore.http.messages import Environ, variable_of

SIGNATURE_PARAMETER: Final = "X-Amz-Signature"
# Beside letters and digits, what percent-encoding leaves alone.
UNRESERVED: Final = "-._~"
_BLANKS: Final = re.compile(r"[ \t]+")


def canonical_request(environ: Environ, uri: str, query: str, signed: Sequence[str], payload: str) -> str:
    """The text whose SHA-256 is signed. `signed` are the names of headers, in lower case and sorted."""
    headers = "".join([f"{name}:{_folded(environ.get(variable_of(name), ''))}\n" for name in signed])
    return f"{environ['REQUEST_METHOD']}\n{uri}\n{query}\n{headers}\n{';'.join(signed)}\n{payload}"


def spellings(environ: Environ) -> Iterator[tuple[str, str]]:
    """Path and query as clients may have signed them: as they are on the wire, then in the one strict spelling.

    The path is neither normalised nor decoded: "//" and ".." are parts of keys. Some clients sign the strict spelling
    and send "+", ":" or "(" as they are.
    """
    path, query = environ["objstore.raw_path"], environ.get("QUERY_STRING", "")
    wire = path, _canonical_query(query.replace("+", "%20"), strict=False)
    yield wire
    strict = _strict(path, UNRESERVED + "/"), _canonical_query(query, strict=True)
    if strict != wire:
        yield strict


def _canonical_query(query: str, *, strict: bool) -> str:
    """The parameters sorted by name and value, without the signature; duplicates stay, and each has a "="."""
    if not query:
        return ""
    fields = []
    for field in query.split("&"):
        name, _, value = field.partition("=")
        if strict:
            if not field:
                continue
            name, value = _strict(name.replace("+", " "), UNRESERVED), _strict(value.replace("+", " "), UNRESERVED)
        if name != SIGNATURE_PARAMETER:
            fields.append((name, value))
    fields.sort()
    return "&".join([f"{name}={value}" for name, value in fields])


def _strict(text: str, safe: str) -> str:
    """Decoded and encoded again: all but unreserved characters as "%XX"."""
    return quote(unquote_to_bytes(text.encode("latin-1")), safe)


def _folded(value: str) -> str:
    """A header's value without blanks at its ends, and with one for each run of them."""
    if "  " in value or "\t" in value:
        value = _BLANKS.sub(" ", value)
    return value.strip(" ")
