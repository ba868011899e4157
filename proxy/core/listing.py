"""Listings: what is asked of an account or a container, and what it lists."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from objstore.http.messages import Body

RENDERED_AS_ROWS: Final = "json"
RENDERED_AS_XML: Final = "xml"
# What the parameters begin with that the store itself adds to a type, to tell containers what to list.
OWN_PARAMETERS: Final = "swift_"
# Either a quoted string, which stays, or such a parameter. A string that is never closed is none: containers look for
# the parameter at the end of the type.
_OWN_OR_QUOTED: Final = re.compile(rf'("[^"]*")|;\s*{OWN_PARAMETERS}(?:[^;"]|"[^"]*"|")*')


class ListingQuery(Struct, frozen=True):
    """Which names to list, in the order of their bytes. A field that is None asks for nothing.

    marker, end_marker: names after the one and before the other. delimiter: names that share what precedes its next
    occurrence after the prefix become one entry. path: the names in one pseudo-folder. The servers' limit is the
    default, and the most.
    """

    limit: str | None = None
    marker: str | None = None
    end_marker: str | None = None
    prefix: str | None = None
    delimiter: str | None = None
    path: str | None = None
    reverse: str | None = None


NO_QUERY: Final = ListingQuery()


class VersionsQuery(ListingQuery, frozen=True):
    """Which versions to list: by name, then the newest first.

    version_marker: behind this version, an internal timestamp or "null", of the name that `marker` gives.
    """

    version_marker: str | None = None


class ListedObject(Struct, frozen=True, rename={"etag": "hash", "size": "bytes"}):
    """An object of a listing; `last_modified` in ISO 8601.

    slo_etag: of a manifest, the quoted ETag of what it makes. symlink_path: where a link leads. checksums: of a part of
    an upload (`listed_checksums`).
    """

    name: str
    etag: str
    size: int
    content_type: str
    last_modified: str
    slo_etag: str = ""
    symlink_path: str = ""
    checksums: str = ""


class ListedVersion(ListedObject, frozen=True):
    """A version, or a delete marker, in a listing of versions; the id is an internal timestamp or "null"."""

    version_id: str = ""
    is_latest: bool = False
    marker: bool = False


class ListedContainer(Struct, frozen=True, rename={"object_count": "count", "size": "bytes"}):
    name: str
    object_count: int
    size: int
    last_modified: str


class ListedPrefix(Struct, frozen=True, rename={"name": "subdir"}):
    """One entry for all names that share this prefix."""

    name: str


ListedEntry = ListedObject | ListedContainer | ListedVersion | ListedPrefix


def entries_of(
    content: bytes, kind: type[ListedObject] | type[ListedContainer] | type[ListedVersion]
) -> list[ListedEntry]:
    """The entries of a listing that is rendered as rows."""
    rows: list[dict[str, Any]] = msgspec.json.decode(content)
    entries: list[ListedEntry] = []
    for row in rows:
        entries.append(msgspec.convert(row, ListedPrefix) if "subdir" in row else msgspec.convert(row, kind))
    return entries


def whole(body: bytes | Body) -> bytes:
    """All of a body, which is closed."""
    if isinstance(body, bytes):
        return body
    try:
        return b"".join(bytes(chunk) for chunk in body)
    finally:
        body.close()


def without_own_parameters(content_type: str) -> str:
    """A type without the parameters that are the store's own: a client's would make listings lie about sizes."""
    if OWN_PARAMETERS not in content_type:
        return content_type
    return _OWN_OR_QUOTED.sub(r"\1", content_type).strip()
