"""Large bodies by way of the in-process transport, and uploads that end in the middle."""

from hashlib import md5
from pathlib import Path

import pytest
from xxhash import xxh3_128_hexdigest

from objstore.devices import Device
from objstore.http.local import LocalTransport
from objstore.http.transport import BackendRequest, BackendUpload, NodeFailure
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.system import concurrency
from tests.unit.object.harness import PATH, ServedFolder, at, put_headers

NODE = Device(0, 1, 1, "127.0.0.1", 6200, "127.0.0.1", 6200, "sda", 1.0)
BODY = bytes(range(251)) * 20_000  # five chunks, none of them alike
OBJECT = ResourcePath("a", "c", "o")


@pytest.fixture
def transport(store: ServedFolder) -> LocalTransport:
    return LocalTransport(lambda _: store.server)


def begin(transport: LocalTransport, second: int, **headers: str) -> BackendUpload:
    plain = {"X-Timestamp": at(second), "Content-Type": "text/plain"} | headers
    return transport.start_upload(BackendRequest("PUT", NODE, 7, OBJECT, plain), len(BODY))


def trailers(body: bytes) -> dict[str, str]:
    return {"Etag": md5(body).hexdigest(), "X-Backend-Body-Checksum": xxh3_128_hexdigest(body)}


def test_a_streamed_upload(store: ServedFolder, transport: LocalTransport) -> None:
    upload = begin(transport, 1)
    assert upload.expect() is None
    for start in range(0, len(BODY), 65536):
        upload.write(BODY[start : start + 65536])
    upload.finish(trailers(BODY))
    assert upload.response().status == 201
    answer = transport.request(BackendRequest("GET", NODE, 7, OBJECT, {}))
    assert answer.read_all() == BODY
    part = transport.request(BackendRequest("GET", NODE, 7, OBJECT, {"Range": "bytes=300000-900000"}))
    assert (part.status, part.read_all()) == (206, BODY[300_000:900_001])


def test_a_refusal_comes_before_the_body(store: ServedFolder, transport: LocalTransport) -> None:
    store.put(5)
    answer = begin(transport, 1).expect()
    assert answer is not None
    assert answer.status == 409


def test_nothing_stays_of_an_upload_whose_sender_leaves(store: ServedFolder, transport: LocalTransport) -> None:
    upload = begin(transport, 1)
    assert upload.expect() is None
    upload.write(BODY)
    upload.abandon()
    with pytest.raises(NodeFailure):
        upload.response()
    assert store.files() == []


def test_nothing_stays_of_an_upload_whose_server_is_stopped(store: ServedFolder, transport: LocalTransport) -> None:
    upload = begin(transport, 1)
    assert upload.expect() is None
    upload.write(BODY)
    upload.task.kill()  # type: ignore[attr-defined]
    with pytest.raises(NodeFailure):
        upload.response()
    assert store.files() == []
    assert store.put(2, BODY).status == 201
    assert store.get().body == BODY


def test_larger_than_allowed_is_413(tmp_path: Path) -> None:
    store = ServedFolder(tmp_path, Limits(max_file_size=len(BODY) - 1))
    headers = put_headers(1, BODY)
    assert store.call("PUT", PATH, headers, BODY).status == 413
    assert store.call("PUT", PATH, headers, BODY, trailers={}).status == 413
    assert store.files() == []


def test_many_readers_and_writers_at_once(store: ServedFolder, transport: LocalTransport) -> None:
    def write_and_read(number: int) -> bool:
        body = BODY[number:] * (number % 3)
        path = f"{PATH}{number}"
        assert store.put(1, body, path).status == 201
        return store.get(path).body == body

    tasks = [concurrency.spawn(write_and_read, number) for number in range(24)]
    assert all(task.wait() for task in tasks)
