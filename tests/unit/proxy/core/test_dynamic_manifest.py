"""Dynamic manifests: what their header says, and what their pages of segments make."""

from __future__ import annotations

from hashlib import md5
from types import SimpleNamespace
from typing import Any, cast

import pytest

from objstore.http.ranges import ranges_of
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.names import DYNAMIC_MANIFEST
from objstore.proxy.core.composite_body import Throttle
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.dynamic_manifest import DynamicManifestReader, SegmentPrefix, is_dynamic, parse_prefix
from objstore.proxy.core.errors import InvalidRange, ManifestDamaged, ObjectNotFound, PartUnavailable
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.links import LinkedPartSource
from objstore.proxy.core.listing import ListedEntry, ListedObject
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.rate_limiter import RateLimiter

PATH = ResourcePath("a", "c", "manifest")
SEGMENTS = {f"p/{number}": f"segment {number} ".encode() for number in range(5)}


def etag_of(content: bytes) -> str:
    return md5(content).hexdigest()


def manifest(value: str = "s/p/") -> StoredObjectInfo:
    metadata = StoredMetadata(given={DYNAMIC_MANIFEST: value})
    return StoredObjectInfo(3, "own", "text/x", "1", "now", metadata=metadata, stands_for_others=True)


class Store:
    """A container of segments, listed in pages, and what was asked of it."""

    def __init__(self, segments: dict[str, bytes], page_max: int) -> None:
        self.segments = dict(segments)
        self.page_max = page_max
        self.markers: list[str | None] = []
        self.links: set[str] = set()

    def list(self, command: GetContainer) -> list[ListedEntry]:
        query = command.query
        assert command.path == ResourcePath("a", "s")
        self.markers.append(query.marker)
        names = [name for name in sorted(self.segments) if name.startswith(query.prefix or "")]
        return [self.row(name) for name in names if name > (query.marker or "")][: self.page_max]

    def row(self, name: str) -> ListedObject:
        content = b"" if name in self.links else self.segments[name]
        link = "/v1/a/s/elsewhere" if name in self.links else ""
        return ListedObject(name, etag_of(content), len(content), "text/x", "then", symlink_path=link)

    def open(self, path: ResourcePath, ranges: str = "", *, newest: bool = False) -> OpenedObject:
        content = self.segments[path.object]
        part = (ranges_of(ranges, len(content)) or [None])[0] if ranges else None
        return OpenedObject(self.head(path), content if part is None else content[part.first : part.last + 1], part)

    def head(self, path: ResourcePath) -> StoredObjectInfo:
        if path.object not in self.segments:
            raise ObjectNotFound(path)
        content = self.segments[path.object]
        return StoredObjectInfo(len(content), etag_of(content), "text/x", "1", "then")

    def reader(self) -> DynamicManifestReader:
        source = SimpleNamespace(open=self.open, head=self.head, transaction_id="tx")
        return DynamicManifestReader(self.list, self.page_max, cast(LinkedPartSource, source))

    def read(self, **fields: Any) -> OpenedObject:
        return self.reader().open(GetObject(PATH, 0, **fields), OpenedObject(manifest(), b"own"))


def content_of(opened: OpenedObject) -> bytes:
    assert not isinstance(opened.body, bytes)
    return b"".join(bytes(chunk) for chunk in opened.body)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("c/p", SegmentPrefix("c", "p")),
        ("c/p/q/", SegmentPrefix("c", "p/q/")),
        ("c%2Fp", SegmentPrefix("c", "p")),
        ("%C3%A4/b%20c%25", SegmentPrefix("ä", "b c%")),
        ("\xc3\xa4/b", SegmentPrefix("ä", "b")),
    ],
)
def test_where_segments_are(value: str, meant: SegmentPrefix) -> None:
    assert parse_prefix(value) == meant


@pytest.mark.parametrize("value", ["", "c", "c/", "/p", "c//p", "c/p?q", "c/p&q", "%FF/p", "c/%00"])
def test_what_names_no_segments(value: str) -> None:
    with pytest.raises(ValueError):
        parse_prefix(value)
    store = Store({}, 10)
    with pytest.raises(ManifestDamaged):
        store.reader().describe(GetObject(PATH, 0), manifest(value))


def test_segments_of_one_page_make_a_whole_of_known_size() -> None:
    store = Store(SEGMENTS | {"other": b"no", "p/00": b""}, 10)
    opened = store.read()
    content = b"".join(SEGMENTS[name] for name in sorted(SEGMENTS))
    assert (opened.length, content_of(opened)) == (len(content), content)
    etags = "".join(etag_of(store.segments[name]) for name in sorted(store.segments) if name != "other")
    assert (opened.info.size, opened.info.etag) == (len(content), etag_of(etags.encode()))
    assert opened.info.content_type == "text/x"
    assert store.markers == [None]


def test_one_range() -> None:
    content = b"".join(SEGMENTS.values())
    opened = Store(SEGMENTS, 10).read(ranges="bytes=5-24")
    assert opened.part is not None
    assert content_of(opened) == content[5:25]
    with pytest.raises(InvalidRange):
        Store(SEGMENTS, 10).read(ranges="bytes=1000-")


@pytest.mark.parametrize("page_max", [1, 2, 5])
def test_nobody_knows_the_size_of_more_than_a_page(page_max: int) -> None:
    store = Store(SEGMENTS, page_max)
    opened = store.read(ranges="bytes=5-24")
    assert (opened.length, opened.part, opened.info.etag) == (None, None, "")
    assert store.markers == [None]
    assert content_of(opened) == b"".join(SEGMENTS.values())
    assert store.markers[1:] == sorted(SEGMENTS)[page_max - 1 :: page_max]


def test_without_segments_it_is_empty() -> None:
    opened = Store({}, 10).read()
    assert (opened.length, opened.info.etag, content_of(opened)) == (0, etag_of(b""), b"")


def test_links_among_the_segments_are_measured_by_their_targets() -> None:
    store = Store(SEGMENTS, 10)
    store.links = {"p/1"}
    made = store.reader().head(GetObject(PATH, 0), manifest())
    assert (made.info.size, made.endless) == (sum(map(len, SEGMENTS.values())), False)
    assert content_of(store.read()) == b"".join(SEGMENTS.values())
    store.head = lambda path: (_ for _ in ()).throw(ObjectNotFound(path))  # type: ignore[method-assign]
    with pytest.raises(PartUnavailable):
        store.read()


def test_a_static_manifest_is_none_whatever_is_stored_with_it() -> None:
    assert is_dynamic(manifest())
    both = StoredMetadata(given={DYNAMIC_MANIFEST: "s/p", "X-Static-Large-Object": "True"})
    assert not is_dynamic(StoredObjectInfo(3, "", "", "1", "", metadata=both, stands_for_others=True))


def test_many_small_segments_wait_their_turn() -> None:
    turns: list[float] = []
    limiter = SimpleNamespace(acquire=lambda units=1.0: turns.append(units))
    throttle = Throttle(cast(RateLimiter, limiter), after_parts=2, under_bytes=100, seconds_max=1000.0)
    opened = Store(SEGMENTS, 10).reader().open(GetObject(PATH, 0), OpenedObject(manifest(), b"own"), throttle)
    assert content_of(opened) == b"".join(SEGMENTS.values())
    assert len(turns) == len(SEGMENTS) - 2
