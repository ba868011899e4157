"""Uploads in parts: their commands and results, and which parts make an object. Pure."""

from __future__ import annotations

from base64 import b16decode
from collections.abc import Callable, Mapping, Sequence
from hashlib import md5
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.checksums import Algorithm
from objstore.conditions import WriteConditions
from objstore.paths import ResourcePath
from objstore.proxy.core.checksums import WantedChecksums
from objstore.proxy.core.encryption.envelope import CustomerKey, Seal
from objstore.proxy.core.errors import InvalidPart, InvalidPartOrder, PartTooSmall
from objstore.proxy.core.info import NO_METADATA, StoredMetadata
from objstore.uploads import PARTS_MAX, UploadName

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader

PART_BYTES_MIN: Final = 5 << 20


class UploadRecord(Struct, frozen=True, omit_defaults=True):
    """What was said of an object when its upload was begun. settings: what an edge keeps for itself. seal: how
    it is encrypted."""

    content_type: str
    metadata: StoredMetadata = NO_METADATA
    delete_at: int | None = None
    settings: dict[str, str] = {}
    seal: Seal | None = None


class BeginUpload(Struct, frozen=True):
    """Begin an upload of the object at `path`. policy_index: of its container, which the parts share."""

    path: ResourcePath
    policy_index: int
    record: UploadRecord
    transaction_id: str = ""


class PutPart(Struct, frozen=True):
    """Store a part under a number, beside those that were stored under it before; the latest counts."""

    path: ResourcePath
    upload: str
    number: int
    body: BodyReader
    length: int | None
    length_max: int
    expected_md5: str = ""
    checksums: WantedChecksums | None = None
    transaction_id: str = ""
    customer_key: CustomerKey | None = None


class UploadedPart(Struct, frozen=True):
    """A part that is stored: `name` in the hidden container, `last_modified` in ISO 8601."""

    number: int
    etag: str
    size: int
    last_modified: str
    name: str
    checksums: dict[Algorithm, str] = {}


class PartsPage(Struct, frozen=True):
    """Parts in the order of their numbers; truncated: there are more behind the last one."""

    parts: list[UploadedPart]
    truncated: bool


class ListUploads(Struct, frozen=True):
    """List open uploads of a container by key, then in the order in which they were begun.

    key_marker: behind all uploads of this key, or with upload_marker behind that one. delimiter: keys that share what
    precedes its next occurrence after the prefix become one entry.
    """

    path: ResourcePath
    limit: int
    prefix: str = ""
    delimiter: str = ""
    key_marker: str = ""
    upload_marker: str = ""
    transaction_id: str = ""


class OpenUpload(Struct, frozen=True):
    """An upload as a listing knows it. settings: those of its record."""

    name: UploadName
    settings: dict[str, str]


class UploadsPage(Struct, frozen=True):
    """Uploads, and prefixes that stand for several. next: where the next page begins, None after the last one."""

    uploads: list[OpenUpload]
    prefixes: list[str]
    next: UploadName | None


class ChosenPart(Struct, frozen=True):
    """A part that makes up the object: as the client knows it."""

    number: int
    etag: str
    checksums: dict[Algorithm, str] = {}


def nothing_more(parts: Sequence[UploadedPart]) -> Mapping[str, str]:
    return {}


class CompleteUpload(Struct, frozen=True):
    """Make the object of the chosen parts.

    part_bytes_min: what all but the last one have at least. version_mode: of the container now. describe: gives further
    system metadata of the whole, such as its checksum; it may raise an error, and then nothing has happened. transient:
    that the object gets unless the upload was begun with some of the name.
    """

    path: ResourcePath
    policy_index: int
    upload: str
    parts: Sequence[ChosenPart]
    part_bytes_min: int = PART_BYTES_MIN
    conditions: WriteConditions | None = None
    version_mode: str = ""
    describe: Callable[[Sequence[UploadedPart]], Mapping[str, str]] = nothing_more
    transient: Mapping[str, str] = {}
    transaction_id: str = ""


class CompletedUpload(Struct, frozen=True):
    """The object that was made. system: its system metadata; version: as of a PutResult."""

    etag: str
    size: int
    system: Mapping[str, str]
    version: str = ""
    seal: Seal | None = None


def composite_etag(etags: Sequence[str]) -> str:
    """The ETag of an object by the MD5s of its parts. Raises InvalidPart for one that is no MD5."""
    digest = md5(usedforsecurity=False)
    for number, etag in enumerate(etags, 1):
        try:
            digest.update(b16decode(etag, casefold=True))
        except ValueError:
            raise InvalidPart(number, etag) from None
    return f"{digest.hexdigest()}-{len(etags)}"


def chosen_parts(
    chosen: Sequence[ChosenPart], stored: Mapping[int, UploadedPart], bytes_min: int
) -> list[UploadedPart]:
    """The stored parts that were chosen. Raises InvalidPartOrder, InvalidPart, PartTooSmall. Pure."""
    numbers = [part.number for part in chosen]
    if not 0 < len(numbers) <= PARTS_MAX or any(a >= b for a, b in pairwise(numbers)):
        raise InvalidPartOrder
    found = []
    for part in chosen:
        there = stored.get(part.number)
        if there is None or there.etag != part.etag.lower():
            raise InvalidPart(part.number, part.etag)
        if any(there.checksums.get(algorithm) != value for algorithm, value in part.checksums.items()):
            raise InvalidPart(part.number, part.etag)
        found.append(there)
    for there in found[:-1]:
        if there.size < bytes_min:
            raise PartTooSmall(there.number, there.etag, there.size, bytes_min)
    return found
