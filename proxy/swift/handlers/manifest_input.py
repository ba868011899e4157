"""The manifests that clients send: a JSON array of segments. Pure.

{"path": "/container/object", "etag": ..., "size_bytes": ..., "range": "first-last"}    all but the path may be left out
{"data": "..."}                                                                         bytes in base64
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from hashlib import md5
from typing import Any, Final

import msgspec
from msgspec import Struct

from objstore.http.errors import HttpError
from objstore.http.ranges import RangeSpec, parse_ranges, resolve_ranges
from objstore.paths import ResourcePath
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.manifest import Part, composite_info, is_composite
from objstore.timestamps import Timestamp

SEGMENTS_MAX: Final = 1000
MANIFEST_BYTES_MAX: Final = 8 * 1024 * 1024
SEGMENT_BYTES_MIN: Final = 1
# In /info.
SLO_SECTION: Final = {
    "max_manifest_segments": SEGMENTS_MAX,
    "max_manifest_size": MANIFEST_BYTES_MAX,
    "min_segment_size": SEGMENT_BYTES_MIN,
    "yield_frequency": 10,
    "allow_async_delete": True,
}
_KEYS: Final = frozenset({"path", "etag", "size_bytes", "range"})


class Segment(Struct, frozen=True):
    """A segment as it was sent: an object with what the client says of it (None: nothing), or data.

    name: how the client spells the path, and how it is told of problems.
    """

    path: str = ""
    etag: str | None = None
    size: int | None = None
    range: RangeSpec | None = None
    data: bytes = b""
    name: str = ""


def parse_segments(content: bytes, target: ResourcePath) -> list[Segment]:
    """The segments of a manifest that is to be stored as `target`. Raises HttpError 400, 413."""
    try:
        items = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HttpError(400, "Manifest must be valid JSON.") from None
    if not isinstance(items, list):
        raise HttpError(400, "Manifest must be a list.")
    segments, problems = [], []
    for index, item in enumerate(items):
        try:
            segments.append(_segment(item, target))
        except ValueError as error:
            problems.append(f"Index {index}: {error}")
    if problems:
        raise HttpError(400, "\n".join(problems[:SEGMENTS_MAX]) + "\n")
    objects = sum(1 for segment in segments if segment.path)
    if objects > SEGMENTS_MAX:
        raise HttpError(413, f"Number of object-backed segments must be <= {SEGMENTS_MAX}")
    if not objects:
        raise HttpError(400, "Inline data segments require at least one object-backed segment.")
    return segments


def _segment(item: Any, target: ResourcePath) -> Segment:
    """Raises ValueError with the reason."""
    if not isinstance(item, dict):
        raise ValueError("not a JSON object")
    if "data" in item:
        return _data(item)
    if "path" not in item:
        raise ValueError("expected keys to include one of 'path' or 'data'")
    if unknown := item.keys() - _KEYS:
        raise ValueError("extraneous keys " + ", ".join(f'"{key}"' for key in sorted(unknown)))
    sent = item["path"]
    if not isinstance(sent, str):
        raise ValueError("path must be a string")
    path = "/" + sent.removeprefix("/")
    container, _, name = path[1:].partition("/")
    if not (container and name) or "\0" in path:
        raise ValueError("path does not refer to an object. Path must be of the form /container/object.")
    if (container, name) == (target.container, target.object):
        raise ValueError("manifest must not include itself as a segment")
    etag = item.get("etag")
    if etag is not None and not isinstance(etag, str):
        raise ValueError("etag must be a string")
    size = _size(item.get("size_bytes"))
    return Segment(path, etag.strip('"').lower() if etag else None, size, _range(item.get("range"), size), name=sent)


def _data(item: Mapping[str, Any]) -> Segment:
    if unknown := item.keys() - {"data"}:
        raise ValueError("extraneous keys " + ", ".join(f'"{key}"' for key in sorted(unknown)))
    try:
        data = base64.b64decode(item["data"], validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise ValueError("data must be valid base64") from None
    if len(data) < SEGMENT_BYTES_MIN:
        raise ValueError(f"too small; each segment must be at least {SEGMENT_BYTES_MIN} byte.")
    return Segment(data=data)


def _size(value: Any) -> int | None:
    if value is None:
        return None
    try:
        size = int(value)
    except (TypeError, ValueError):
        raise ValueError("invalid size_bytes") from None
    if isinstance(value, float | bool) or size < SEGMENT_BYTES_MIN:
        raise ValueError(f"too small; each segment must be at least {SEGMENT_BYTES_MIN} byte.")
    return size


def _range(value: Any, size: int | None) -> RangeSpec | None:
    if value is None:
        return None
    specs = parse_ranges(f"bytes={value}") if isinstance(value, str) else None
    if specs is None:
        raise ValueError("invalid range")
    if len(specs) > 1:
        raise ValueError("multiple ranges (only one allowed)")
    if size is not None and not resolve_ranges(specs, size):
        raise ValueError("unsatisfiable range")
    return specs[0]


def data_part(segment: Segment) -> Part:
    """The part that holds the bytes of an inline segment."""
    return Part(data=segment.data)


def object_part(segment: Segment, path: ResourcePath, info: StoredObjectInfo) -> Part:
    """The part that a segment makes, whose object is stored as `info` says. Raises ValueError with what is wrong."""
    composite = is_composite(info)
    whole = composite_info(path, info) if composite else info
    if segment.etag is not None and segment.etag != whole.etag:
        raise ValueError("Etag Mismatch")
    if segment.size is not None and segment.size != whole.size:
        raise ValueError("Size Mismatch")
    if whole.size < SEGMENT_BYTES_MIN:
        raise ValueError(f"Too Small; each segment must be at least {SEGMENT_BYTES_MIN} byte.")
    span = ""
    if segment.range is not None:
        found = resolve_ranges([segment.range], whole.size)
        if not found:
            raise ValueError("Unsatisfiable Range")
        if found[0].length < whole.size:
            span = f"{found[0].first}-{found[0].last}"
    return Part(
        path=segment.path,
        etag=whole.etag,
        size=whole.size,
        range=span,
        content_type=info.content_type,
        last_modified=Timestamp.parse(info.timestamp).isoformat,
        is_manifest=composite,
    )


def etag_of(parts: Sequence[Part]) -> str:
    """The ETag of a static large object: the MD5 of its segments' ETags, each with its range if it has one."""
    digest = md5(usedforsecurity=False)
    for part in parts:
        etag = part.etag or md5(part.data, usedforsecurity=False).hexdigest()
        digest.update((f"{etag}:{part.range};" if part.range else etag).encode())
    return digest.hexdigest()


def raw_manifest(parts: Sequence[Part]) -> bytes:
    """The parts as a client would send them."""
    return msgspec.json.encode([_raw(part) for part in parts])


def _raw(part: Part) -> dict[str, str | int]:
    if part.data:
        return {"data": base64.b64encode(part.data).decode()}
    segment: dict[str, str | int] = {"path": part.path, "etag": part.etag, "size_bytes": part.size}
    return segment | {"range": part.range} if part.range else segment


def segments_of(parts: Sequence[Part]) -> list[Segment]:
    """The parts of a stored manifest as segments that are to be looked at again: the copy of a manifest."""
    found = []
    for part in parts:
        span = part.span if part.range else None
        spec = None if span is None else RangeSpec(span.first, span.last)
        sent = Segment(part.path, part.etag, part.size, spec, name=part.path)
        found.append(sent if part.path else Segment(data=part.data))
    return found
