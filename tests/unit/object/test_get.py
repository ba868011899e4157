"""GET and HEAD: headers, conditions, ranges, expiry, and what happens when the disk has gone bad."""

import hashlib
import os

import pytest

from objstore.headers import Backend
from tests.unit.object.harness import NOW, PATH, ServedFolder, at

LARGE = bytes(range(256)) * 4096  # 1 MiB
# What tells one object from another, of b"body" put at 1.
IDENTIFYING = {
    "Accept-Ranges": "bytes",
    "Etag": hashlib.md5(b"body").hexdigest(),
    "Last-Modified": "Tue, 14 Nov 2023 22:13:21 GMT",
    "X-Timestamp": at(1),
}


def test_the_headers_of_an_object(store: ServedFolder) -> None:
    store.put(1, b"body", x_object_meta_color="blue", content_disposition="inline", x_object_sysmeta_a="b")
    for answer in (store.get(), store.head()):
        headers = answer.headers
        assert headers["Content-Type"] == "text/plain"
        assert headers["Content-Length"] == "4"
        assert headers["Accept-Ranges"] == "bytes"
        assert headers["X-Timestamp"] == headers[Backend.TIMESTAMP] == headers[Backend.DATA_TIMESTAMP] == at(1)
        assert headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:21 GMT"
        assert headers["X-Object-Meta-Color"] == "blue"
        assert headers["Content-Disposition"] == "inline"
        assert headers["X-Object-Sysmeta-A"] == "b"
    assert store.head().body == b""


def test_nothing_there(store: ServedFolder) -> None:
    assert store.get().status == store.head().status == 404
    assert Backend.TIMESTAMP not in store.get().headers
    store.delete(3)
    assert store.get().headers[Backend.TIMESTAMP] == at(3)


@pytest.mark.parametrize("size", [1000, len(LARGE)])
@pytest.mark.parametrize(
    ("header", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=990-", 990, None), ("bytes=-10", -10, None), ("bytes=5-999999999", 5, None)],
)
def test_one_range(store: ServedFolder, size: int, header: str, first: int, last: int | None) -> None:
    body = LARGE[:size]
    store.put(1, body)
    answer = store.get(range=header)
    expected = body[first : None if last is None else last + 1]
    assert (answer.status, answer.body) == (206, expected)
    assert answer.headers["Content-Length"] == str(len(expected))
    begin = first % size
    assert answer.headers["Content-Range"] == f"bytes {begin}-{begin + len(expected) - 1}/{size}"
    assert store.head(range=header).status == 200


def test_unsatisfiable_ranges_and_such_as_are_none(store: ServedFolder) -> None:
    store.put(1, b"body")
    answer = store.get(range="bytes=10-20")
    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */4")
    assert IDENTIFYING.items() <= answer.headers.items()
    assert store.get(range="lines=1-2").status == 200
    assert store.get(range="bytes=0-1,3-3").body == b"body"


def test_if_range_gives_the_whole_when_the_object_has_changed(store: ServedFolder) -> None:
    etag = store.put(1, b"body").headers["Etag"]
    assert store.get(range="bytes=0-0", if_range=f'"{etag}"').status == 206
    assert store.get(range="bytes=0-0", if_range=store.head().headers["Last-Modified"]).status == 206
    assert store.get(range="bytes=0-0", if_range='"other"').status == 200


def test_preconditions(store: ServedFolder) -> None:
    etag = store.put(1, b"body").headers["Etag"]
    for method in (store.get, store.head):
        assert method(if_none_match=f'"{etag}"').status == 304
        refused = method(if_match='"other"')
        assert refused.status == 412
        assert IDENTIFYING.items() <= refused.headers.items()
        assert method(if_match=etag).status == 200
        assert method(if_modified_since="Tue, 14 Nov 2023 22:13:21 GMT").status == 304
        assert method(if_unmodified_since="Tue, 14 Nov 2023 22:13:20 GMT").status == 412
    assert store.get(if_none_match=etag).body == b""
    assert store.get(if_none_match=etag).headers["Etag"] == etag


def test_an_expired_object_is_gone(store: ServedFolder) -> None:
    store.put(1, x_delete_at=str(int(NOW) + 10))
    assert store.get().headers["X-Delete-At"] == str(int(NOW) + 10)
    store.clock.seconds = NOW + 10
    assert store.get().status == store.head().status == store.post(2).status == 404
    assert store.get().headers[Backend.TIMESTAMP] == at(1)
    assert store.get(x_backend_open_expired="true").status == 200
    assert store.head(x_open_expired="true").status == 200
    assert store.get(x_backend_replication="true").body == b"body"


def test_an_expired_object_can_be_brought_back(store: ServedFolder) -> None:
    store.put(1, x_delete_at=str(int(NOW) + 10))
    store.clock.seconds = NOW + 10
    later = str(int(NOW) + 99)
    assert store.post(2, x_delete_at=later).status == 404
    assert store.post(3, x_delete_at=later, x_backend_open_expired="true").status == 202
    assert store.get().headers["X-Delete-At"] == later


def damage(store: ServedFolder, how: str) -> None:
    path = store.directory() / store.names()[0]
    content = bytearray(path.read_bytes())
    if how == "bit":
        content[-1] ^= 1
        path.write_bytes(content)  # the inode and its attributes stay
    elif how == "short":
        os.truncate(path, len(content) - 1)
    elif how == "attribute":
        os.setxattr(path, "user.objstore.metadata", b"nonsense")
    elif how == "no attribute":
        os.removexattr(path, "user.objstore.metadata")
    elif how == "name":
        path.rename(path.with_name(at(9) + ".data"))


@pytest.mark.parametrize("how", ["bit", "short", "attribute", "no attribute", "name"])
def test_a_damaged_object_is_quarantined(store: ServedFolder, how: str) -> None:
    store.put(1, b"precious")
    damage(store, how)
    assert store.get().status == 404
    digest = store.directory().name
    assert [name for name in store.files() if name.startswith("quarantined/objects/" + digest)]
    assert not store.directory().exists()
    assert store.put(2, b"restored").status == 201
    assert store.get().body == b"restored"


def test_damage_at_the_end_of_a_large_object_breaks_the_answer_off(store: ServedFolder) -> None:
    store.put(1, LARGE)
    damage(store, "bit")
    with pytest.raises(Exception, match="checksum"):
        store.get()
    assert store.get().status == 404
    assert any("quarantined" in name for name in store.files())


def test_a_range_is_served_without_reading_all(store: ServedFolder) -> None:
    store.put(1, LARGE)
    damage(store, "bit")
    assert store.get(range="bytes=0-99").body == LARGE[:100]


def test_head_does_not_read_the_body(store: ServedFolder) -> None:
    store.put(1, b"precious")
    damage(store, "bit")
    assert store.head().status == 200


def test_bodies_are_dropped_from_the_cache_on_request(tmp_path: object) -> None:
    store = ServedFolder(tmp_path, keep_cache_size=1000)  # type: ignore[arg-type]
    store.put(1, LARGE)
    assert store.get().body == LARGE
    assert store.get(range="bytes=100000-600000").body == LARGE[100000:600001]


def test_other_methods_are_refused(store: ServedFolder) -> None:
    answer = store.call("BREW", PATH)
    assert answer.status == 405
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize(
    "marker",
    [
        {"x_object_sysmeta_link_target": "/a/c/o"},
        {"x_static_large_object": "True"},
        {"x_object_manifest": "c/segments"},
    ],
)
def test_conditions_and_ranges_are_not_for_what_stands_for_other_objects(
    store: ServedFolder, marker: dict[str, str]
) -> None:
    etag = store.put(1, b"body", **marker).headers["Etag"]
    for name, value, status in (
        ("if_match", '"x"', 412),
        ("if_none_match", f'"{etag}"', 304),
        ("range", "bytes=9-", 416),
    ):
        answer = store.get(**{name: value})
        assert (answer.status, answer.body) == (200, b"body")
        assert store.get(**{name: value}, x_backend_as_stored="true").status == status
    assert store.get(range="bytes=1-2", x_backend_as_stored="true").body == b"od"
