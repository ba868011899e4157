"""Tags of objects as they are stored: `key=value&...`, quoted, which is also how a header brings them."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl, quote

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.tags import checked_tags

TAGS_MAX: Final = 10


def tags_in_header(header: str) -> dict[str, str]:
    """The tags of an x-amz-tagging header. Raises S3Error InvalidArgument, InvalidTag, BadRequest."""
    try:
        text = header.encode("latin-1").decode()
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), errors="strict")
    except ValueError:
        reason = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters."
        raise S3Error("InvalidArgument", reason, ArgumentName="x-amz-tagging", ArgumentValue=header) from None
    return checked_tags(pairs, TAGS_MAX)


def stored_tags(tags: dict[str, str]) -> str:
    """The stored form."""
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in tags.items())


def tags_of(stored: str) -> dict[str, str]:
    """What a stored form holds."""
    return dict(parse_qsl(stored, keep_blank_values=True))


def tag_count(stored: str) -> int:
    """How many tags a stored form holds."""
    return stored.count("=")
