"""PUT: what is stored, what is refused, and what is left on the disk."""

import pytest

from objstore.headers import Backend
from tests.unit.object.harness import PATH, ServedFolder, at, put_headers, wire

BODIES = [b"", b"x", b"small" * 100, b"a" * 65536, b"b" * 65537, b"c" * (2**20), b"d" * (3 * 2**20 + 17)]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_what_was_put_can_be_read(store: ServedFolder, body: bytes) -> None:
    put = store.put(1, body)
    assert put.status == 201
    got = store.get()
    assert (got.status, got.body) == (200, body)
    assert got.headers["Etag"] == put.headers["Etag"]
    assert store.head().headers["Content-Length"] == got.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_checksums_may_follow_a_chunked_body(store: ServedFolder, body: bytes) -> None:
    headers = put_headers(1, body)
    trailers = {name: headers.pop(name) for name in ("Etag", "X-Backend-Body-Checksum")}
    trailers |= {"X-Object-Sysmeta-Late": "yes", "X-Object-Meta-Color": "red", "X-Other": "no"}
    assert store.call("PUT", PATH, headers | {"X-Object-Meta-Color": "blue"}, body, trailers).status == 201
    got = store.get()
    assert got.body == body
    assert got.headers["X-Object-Sysmeta-Late"] == "yes"
    assert got.headers["X-Object-Meta-Color"] == "red"
    assert "X-Other" not in got.headers


@pytest.mark.parametrize("second", [1, 2])
def test_older_or_equal_is_a_conflict(store: ServedFolder, second: int) -> None:
    store.put(2, b"kept")
    answer = store.put(second, b"late")
    assert answer.status == 409
    assert answer.headers[Backend.TIMESTAMP] == at(2)
    assert store.get().body == b"kept"


def test_newer_replaces_and_leaves_nothing_behind(store: ServedFolder) -> None:
    store.put(1)
    store.post(2)
    store.put(3, b"new")
    assert store.names() == [at(3) + ".data"]
    assert store.get().body == b"new"


def test_a_put_older_than_posted_metadata_keeps_that_metadata(store: ServedFolder) -> None:
    store.put(1)
    store.post(3, x_object_meta_color="red")
    assert store.put(2, b"new").status == 201
    assert store.get().body == b"new"
    assert store.get().headers["X-Object-Meta-Color"] == "red"


@pytest.mark.parametrize("body", [b"small", b"l" * 200_000], ids=len)
@pytest.mark.parametrize("how", ["checksum", "short", "missing"])
def test_nothing_of_a_refused_body_stays(store: ServedFolder, body: bytes, how: str) -> None:
    headers = put_headers(1, body)
    if how == "checksum":
        headers["X-Backend-Body-Checksum"] = "0" * 32
    elif how == "missing":
        del headers["X-Backend-Body-Checksum"]
    elif how == "short":
        headers["Content-Length"] = str(len(body) + 1)
    answer = store.call("PUT", PATH, headers, body)
    assert answer.status == {"checksum": 422, "short": 499, "missing": 400}[how]
    assert store.files() == []
    assert store.get().status == 404
    assert store.transport.requests == []


def test_if_none_match_refuses_only_what_exists(store: ServedFolder) -> None:
    assert store.put(1, if_none_match="*").status == 201
    assert store.put(2, if_none_match="*").status == 412
    assert store.put(2, if_none_match="etag").status == 400
    assert store.put(2, if_none_match="841a2d689ad86bd1611447453c22c6fc").status == 412
    store.delete(3)
    assert store.put(4, if_none_match="*", x_delete_at=str(int(float(at(10))))).status == 201
    store.clock.seconds = float(at(11))
    assert store.put(5, if_none_match="*").status == 201


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("/sda/7/a/c", {}, 400),
        ("/sda/x/a/c/o", {}, 400),
        ("/sdx/7/a/c/o", {}, 507),
        ("/../7/a/c/o", {}, 507),
        ("/sda/7/a/c/\xff", {}, 412),
        (PATH, {"X-Timestamp": "yesterday"}, 400),
        (PATH, {"Content-Type": ""}, 400),
        (PATH, {"X-Delete-At": "soon"}, 400),
        (PATH, {"X-Backend-Storage-Policy-Index": "9"}, 503),
        (PATH, {"X-Container-Device": "sdb,sdc"}, 400),
        (PATH, {"X-Container-Host": "nowhere"}, 400),
        (PATH, {"X-Backend-Container-Path": "account"}, 400),
    ],
)
def test_what_makes_no_sense_is_refused(store: ServedFolder, path: str, changes: dict[str, str], status: int) -> None:
    assert store.call("PUT", path, put_headers(1, b"x") | changes, b"x").status == status
    assert store.files() == []


def test_without_a_length_there_is_no_put(store: ServedFolder) -> None:
    assert store.call("PUT", PATH, put_headers(1, b"")).status == 411


def test_names_and_metadata_may_hold_any_text(store: ServedFolder) -> None:
    path = wire("/sda/7/a/\0reserved\0c/o/ü/日本")
    assert store.put(1, path=path, x_object_meta_city=wire("Zürich")).status == 201
    assert store.get(path).headers["X-Object-Meta-City"] == wire("Zürich")
    assert store.transport.rows[0].name == "o/ü/日本"
    assert store.transport.requests[0][0].path.container == "\0reserved\0c"


def test_long_metadata_survives(store: ServedFolder) -> None:
    long = {f"x_object_meta_number_{n}": "v" * 200 for n in range(40)}
    assert store.put(1, b"body" * 50_000, **long).status == 201
    got = store.get()
    assert got.body == b"body" * 50_000
    assert got.headers["X-Object-Meta-Number-39"] == "v" * 200
    assert store.get(range="bytes=-4").body == b"body"


def test_a_timestamp_with_an_offset_is_newer(store: ServedFolder) -> None:
    store.put(1)
    headers = put_headers(1, b"new") | {"X-Timestamp": at(1) + "_0000000000000001"}
    assert store.call("PUT", PATH, headers, b"new").status == 201
    assert store.get().headers["X-Timestamp"] == at(1)
    assert store.get().headers[Backend.TIMESTAMP] == at(1) + "_0000000000000001"


def test_each_policy_has_a_folder_of_its_own(store: ServedFolder) -> None:
    silver = {"x_backend_storage_policy_index": "1"}
    store.transport.status = None
    assert store.put(1, b"gold").status == 201
    assert store.put(1, b"silver", **silver).status == 201
    assert store.get().body == b"gold"
    assert store.get(**silver).body == b"silver"
    assert {name.partition("/")[0] for name in store.files()} == {
        "objects",
        "objects-1",
        "async_pending",
        "async_pending-1",
    }
    assert [row.policy_index for row in store.transport.rows] == [0, 1]
