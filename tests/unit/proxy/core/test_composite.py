"""Objects made of parts: what readers get, which parts are opened for it, and what happens when a part has changed."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import md5
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.headers import Client
from objstore.http.ranges import ByteRange, ranges_of
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import PartSource, composite_head, open_composite, open_parts
from objstore.proxy.core.composite_body import AHEAD_BYTES_MAX, AHEAD_MAX, DEPTH_MAX, Throttle
from objstore.proxy.core.errors import (
    BodyBrokenOff,
    CoreError,
    InvalidRange,
    ManifestDamaged,
    ManifestsTooDeep,
    NotModified,
    ObjectNotFound,
    PartUnavailable,
    PreconditionFailed,
)
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.manifest import (
    Part,
    decode_manifest,
    encode_manifest,
    manifest_metadata,
    pieces_of,
)
from objstore.proxy.core.objects import Conditions, GetObject, OpenedObject
from objstore.system import concurrency

MODIFIED = "Sun, 13 Sep 2020 12:26:40 GMT"
PATH = ResourcePath("a", "c", "whole")
GET = GetObject(PATH, 0)


class HeldBody:
    def __init__(self, holder: Holder, content: bytes) -> None:
        self.length: int | None = len(content)
        self._holder = holder
        self._content = content
        holder.open_bodies += 1
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), 7):
            yield self._content[start : start + 7]

    def close(self) -> None:
        self._holder.open_bodies -= not self._closed
        self._closed = True


class Holder:
    """Stores objects under names in the container "c", and writes down what is opened: name, ranges, newest."""

    def __init__(self) -> None:
        self.stored: dict[str, tuple[bytes, StoredMetadata]] = {}
        self.stale: dict[str, tuple[bytes, StoredMetadata]] = {}
        self.opened: list[tuple[str, str]] = []
        self.asked_newest: list[str] = []
        self.open_bodies = 0

    def put(self, name: str, content: bytes, **part: Any) -> Part:
        self.stored[name] = content, StoredMetadata()
        return Part(f"/c/{name}", md5(content).hexdigest(), len(content), **part)

    def put_manifest(self, name: str, parts: list[Part]) -> Part:
        etag, size = md5("".join(part.etag for part in parts).encode()).hexdigest(), sum(part.length for part in parts)
        self.stored[name] = encode_manifest(parts), manifest_metadata(StoredMetadata(), size, etag)
        return Part(f"/c/{name}", etag, size, is_manifest=True)

    def open(self, path: ResourcePath, ranges: str = "", *, newest: bool = False) -> OpenedObject:
        name = path.object
        self.opened.append((name, ranges))
        if newest:
            self.asked_newest.append(name)
        held = self.stored.get(name) if newest else self.stale.get(name, self.stored.get(name))
        if held is None:
            raise ObjectNotFound(path)
        content, metadata = held
        composite = Client.STATIC_LARGE_OBJECT in metadata.given
        info = StoredObjectInfo(
            len(content), md5(content).hexdigest(), "text/x", "1.00000", MODIFIED, None, metadata, composite
        )
        asked = None if composite or not ranges else ranges_of(ranges, len(content))
        if asked == []:
            raise InvalidRange(cast("Any", None))
        part = asked[0] if asked else None
        if part is not None:
            content = content[part.first : part.last + 1]
        return OpenedObject(info, HeldBody(self, content), part)

    def get(self, command: GetObject = GET, **more: Any) -> OpenedObject:
        return open_composite(command, self.open(command.path), cast("PartSource", self), **more)

    def read(self, ranges: str = "") -> bytes:
        opened = self.get(GetObject(PATH, 0, ranges))
        return b"".join(all_of(opened))


def all_of(opened: OpenedObject) -> list[bytes]:
    bodies = [body for _, body in opened.parts] or [opened.body]
    try:
        return [body if isinstance(body, bytes) else b"".join(bytes(chunk) for chunk in body) for body in bodies]
    finally:
        opened.close()


@pytest.fixture
def holder() -> Holder:
    return Holder()


def test_parts_come_one_after_the_other(holder: Holder) -> None:
    parts = [holder.put(f"p{number}", bytes([number]) * 20) for number in range(5)]
    holder.put_manifest("whole", [*parts, Part(size=3, data=b"end")])
    opened = holder.get()
    assert (opened.info.size, opened.length, opened.part) == (103, 103, None)
    assert b"".join(all_of(opened)) == b"".join(bytes([number]) * 20 for number in range(5)) + b"end"
    assert holder.open_bodies == 0


def test_only_what_a_range_touches_is_opened(holder: Holder) -> None:
    holder.put_manifest("whole", [holder.put(f"p{number}", b"0123456789") for number in range(5)])
    assert holder.read("bytes=8-20") == b"8901234567890"
    assert holder.opened == [("whole", ""), ("p0", "bytes=8-9"), ("p1", ""), ("p2", "bytes=0-0")]
    opened = holder.get(GetObject(PATH, 0, "bytes=0-1,48-"))
    assert [each for each, _ in opened.parts] == [ByteRange(0, 1), ByteRange(48, 49)]
    assert all_of(opened) == [b"01", b"89"]
    with pytest.raises(InvalidRange):
        holder.read("bytes=50-")
    assert holder.open_bodies == 0


def test_ranges_of_parts_and_manifests_within_manifests(holder: Holder) -> None:
    inner = holder.put_manifest("inner", [holder.put("p", b"0123456789", range="2-5"), holder.put("q", b"abcdef")])
    outer = Part(inner.path, inner.etag, inner.size, "3-5", is_manifest=True)
    holder.put_manifest("whole", [outer, inner])
    assert holder.read() == b"5ab" + b"2345abcdef"
    assert holder.read("bytes=2-3") == b"b2"
    assert holder.open_bodies == 0


def test_manifests_are_followed_so_deep_and_no_deeper(holder: Holder) -> None:
    part = holder.put("deepest", b"content")
    for depth in range(DEPTH_MAX - 1):
        part = holder.put_manifest(f"depth{depth}", [part])
    holder.put_manifest("whole", [part])
    assert holder.read() == b"content"
    holder.put_manifest("whole", [holder.put_manifest("one more", [part])])
    holder.opened.clear()
    with pytest.raises(ManifestsTooDeep):
        holder.read()
    assert len(holder.opened) <= 2 * (DEPTH_MAX + 1), "levels are not read again for what is wrong below them"
    assert holder.open_bodies == 0


def test_a_part_that_is_gone_deep_below_is_asked_for_twice(holder: Holder) -> None:
    part = holder.put("deepest", b"content")
    for depth in range(DEPTH_MAX - 1):
        part = holder.put_manifest(f"depth{depth}", [part])
    holder.put_manifest("whole", [part])
    del holder.stored["deepest"]
    with pytest.raises(PartUnavailable, match="gone"):
        holder.read()
    assert [name for name, _ in holder.opened].count("deepest") == 2
    assert holder.open_bodies == 0


@pytest.mark.parametrize("after", [b"0123456780", b"0123", None])
@pytest.mark.parametrize("ranged", [False, True])
def test_a_part_that_changed_is_never_sent(holder: Holder, after: bytes | None, ranged: bool) -> None:
    parts = [holder.put(f"p{number}", b"0123456789", range="4-9" if ranged else "") for number in range(2)]
    holder.put_manifest("whole", parts)
    for number, name in ((1, "p1"), (0, "p0")):
        if after is None:
            del holder.stored[name]
        else:
            holder.put(name, after)
        if number:
            body = iter(cast("Iterator[bytes]", holder.get().body))
            given = b""
            with pytest.raises(CoreError):
                for chunk in body:
                    given += chunk
            assert given == b"0123456789"[4 if ranged else 0 :]
        else:
            with pytest.raises(PartUnavailable):
                holder.get()


def test_a_replica_that_missed_a_write_is_not_believed(holder: Holder) -> None:
    holder.put_manifest("whole", [holder.put("p0", b"old")])
    holder.stale = {"whole": holder.stored["whole"], "p0": holder.stored["p0"]}
    holder.put_manifest("whole", [holder.put("p0", b"new")])
    assert holder.read() == b"old"  # consistent, if old: both replicas missed both writes
    del holder.stale["p0"]
    assert holder.read() == b"new"
    holder.stale = {"p0": (b"old", StoredMetadata())}
    assert holder.read() == b"new"
    assert holder.open_bodies == 0


def test_parts_are_opened_ahead_within_limits(holder: Holder) -> None:
    holder.put_manifest("whole", [holder.put(f"p{number}", b"x" * 8) for number in range(9)])
    opened = holder.get()
    chunks = iter(cast("Iterator[bytes]", opened.body))
    next(chunks)
    concurrency.sleep()
    assert holder.open_bodies == 1 + AHEAD_MAX
    opened.close()
    assert holder.open_bodies == 0
    holder.put_manifest("whole", [holder.put(f"p{number}", b"x" * AHEAD_BYTES_MAX) for number in range(4)])
    opened = holder.get()
    next(iter(cast("Iterator[bytes]", opened.body)))
    concurrency.sleep()
    assert holder.open_bodies == 2
    opened.close()
    assert holder.open_bodies == 0


def test_a_part_whose_opening_is_under_way_is_closed_when_it_comes(holder: Holder) -> None:
    holder.put_manifest("whole", [holder.put(f"p{number}", b"x" * 8) for number in range(3)])
    opened = holder.get()
    begin = holder.open

    def slow(path: ResourcePath, ranges: str = "", *, newest: bool = False) -> OpenedObject:
        found = begin(path, ranges, newest=newest)
        concurrency.sleep()
        return found

    holder.open = slow  # type: ignore[method-assign]
    next(iter(cast("Iterator[bytes]", opened.body)))
    concurrency.sleep()
    opened.close()
    assert holder.open_bodies == 2
    concurrency.sleep()
    concurrency.sleep()
    assert holder.open_bodies == 0


def test_conditions_are_about_the_whole(holder: Holder) -> None:
    whole = holder.put_manifest("whole", [holder.put("p", b"content")])
    info = holder.open(PATH).info
    holder.open_bodies = 0
    for conditions, error in (
        (Conditions(if_none_match=f'"{whole.etag}"'), NotModified),
        (Conditions(if_modified_since=MODIFIED), NotModified),
        (Conditions(if_match=info.etag), PreconditionFailed),
        (Conditions(if_unmodified_since="Sun, 13 Sep 2020 12:26:39 GMT"), PreconditionFailed),
    ):
        command = GetObject(PATH, 0, conditions=conditions)
        with pytest.raises(error):
            holder.get(command)
        with pytest.raises(error):
            composite_head(command, info)
    command = GetObject(PATH, 0, "bytes=0-1", Conditions(if_match=whole.etag, if_range=whole.etag))
    assert all_of(holder.get(command)) == [b"co"]
    command = GetObject(PATH, 0, "bytes=0-1", Conditions(if_range="other"))
    assert all_of(holder.get(command)) == [b"content"]
    assert holder.open_bodies == 0


def test_parts_that_no_manifest_lists(holder: Holder) -> None:
    parts = [holder.put("p", b"one"), Part("/c/q", size=3)]
    holder.put("q", b"two")
    info = StoredObjectInfo(0, "", "text/x", "1.00000", MODIFIED)
    opened = open_parts(GET, info, iter(parts), cast("PartSource", holder), endless=True)
    assert opened.length is None
    assert all_of(opened) == [b"onetwo"]
    holder.put("q", b"longer")
    opened = open_parts(GET, info, iter(parts), cast("PartSource", holder), endless=True)
    with pytest.raises(BodyBrokenOff):
        all_of(opened)


def test_small_parts_wait_for_their_turn(holder: Holder) -> None:
    waits = []

    class Limiter:
        def acquire(self) -> None:
            waits.append(len(holder.opened))

    throttle = Throttle(cast("Any", Limiter()), after_parts=2, under_bytes=5, seconds_max=60.0)
    sizes = (9, 1, 9, 1, 1, 9)
    holder.put_manifest("whole", [holder.put(f"p{number}", b"x" * size) for number, size in enumerate(sizes)])
    all_of(holder.get(throttle=throttle))
    assert len(waits) == 2
    late = Throttle(cast("Any", Limiter()), after_parts=2, under_bytes=5, seconds_max=-1.0)
    with pytest.raises(BodyBrokenOff):
        holder.get(throttle=late)


@pytest.mark.parametrize("content", [b"{}", b"[1]", b"\xff", b'[{"name": "c"}]', b'[{"name": "/c/o", "range": "x"}]'])
def test_what_is_no_manifest(content: bytes) -> None:
    with pytest.raises(ManifestDamaged):
        decode_manifest(PATH, content)


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 8), st.integers(0, 8)), min_size=1),
    st.integers(0, 300),
    st.integers(0, 300),
)
def test_pieces_are_the_bytes_that_are_wanted(stored: list[tuple[bytes, int, int]], one: int, other: int) -> None:
    parts, whole = [], b""
    for content, first, last in stored:
        first, last = sorted((first % len(content), last % len(content)))
        parts.append(Part(data=content, size=len(content), range=f"{first}-{last}"))
        whole += content[first : last + 1]
    first, last = sorted((one % len(whole), other % len(whole)))
    pieces = list(pieces_of(parts, ByteRange(first, last)))
    taken = [piece.part.data[piece.wanted.first : piece.wanted.last + 1] for piece in pieces]
    assert b"".join(taken) == whole[first : last + 1]
    assert all(taken)
