"""Tags of buckets and objects."""

from __future__ import annotations

import re
from typing import Final

from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.xml import Element, MalformedDocument, ReceivedElement

KEY_LENGTH_MAX: Final = 128
VALUE_LENGTH_MAX: Final = 256
BUCKET_TAGS_MAX: Final = 50
# Letters, digits and blanks of any script, and these.
_TEXT: Final = re.compile(r"[\w\s.:/=+\-@]*")


def checked_tags(pairs: list[tuple[str, str]], count_max: int) -> dict[str, str]:
    """Tags by key. Raises S3Error InvalidTag, BadRequest."""
    for key, value in pairs:
        if not 1 <= len(key) <= KEY_LENGTH_MAX or not _TEXT.fullmatch(key):
            raise S3Error("InvalidTag", "The TagKey you have provided is invalid", TagKey=key)
        if len(value) > VALUE_LENGTH_MAX or not _TEXT.fullmatch(value):
            raise S3Error("InvalidTag", "The TagValue you have provided is invalid", TagKey=key, TagValue=value)
        if key.startswith("aws:"):
            raise S3Error("InvalidTag", "System tags cannot be added/updated by requester", TagKey=key)
    tags = dict(pairs)
    if len(tags) != len(pairs):
        raise S3Error("InvalidTag", "Cannot provide multiple Tags with the same key")
    if len(tags) > count_max:
        raise S3Error("BadRequest", f"Tags cannot be more than {count_max}")
    return tags


def received_tags(document: ReceivedElement, count_max: int) -> dict[str, str]:
    """The tags of a Tagging document. Raises S3Error, MalformedDocument."""
    tag_set = document.find("TagSet")
    if tag_set is None or any(tag.name != "Tag" for tag in tag_set):
        raise MalformedDocument("a Tagging holds a TagSet of Tags")
    return checked_tags([(tag.needed("Key"), tag.needed("Value")) for tag in tag_set], count_max)


def tagging_element(tags: dict[str, str]) -> Element:
    """The document that tells tags."""
    root = Element("Tagging")
    tag_set = root.add("TagSet")
    for key, value in tags.items():
        tag = tag_set.add("Tag")
        tag.add("Key", key)
        tag.add("Value", value)
    return root
