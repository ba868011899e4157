"""Objects of strong policies on one object server: floors, preparations, states, and what replication brings."""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping
from hashlib import md5
from pathlib import Path

import msgspec
import pytest
from xxhash import xxh3_128_hexdigest

from objstore.devices import Device
from objstore.http.bodies import BytesBody
from objstore.http.local import LocalTransport
from objstore.http.messages import Request, Response, variable_of
from objstore.http.transport import BackendRequest, BackendUpload, NodeFailure
from objstore.object.agreement import AGREED_SECONDS, DEFERRED_SECONDS
from objstore.object.file_engine.disk import Disk
from objstore.object.metadata import ObjectMetadata, TombstoneMetadata
from objstore.object.replication.frames import head_of
from objstore.object.strong_writes import STATE_NAMES_MAX
from objstore.paths import ResourcePath
from objstore.system.concurrency import happened
from tests.unit.object.harness import CONTAINER, PATH, ServedFolder, at, put_headers

STRONG = {"X-Backend-Storage-Policy-Index": "2"}
ETAG = md5(b"body").hexdigest()


class StrongFolder(ServedFolder):
    """As ServedFolder, of the strong policy."""

    def call(
        self,
        method: str,
        path: str = PATH,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        trailers: dict[str, str] | None = None,
    ) -> Response:
        return super().call(method, path, {**STRONG, **(headers or {})}, body, trailers)

    def prepare(self, second: int, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("PREPARE", headers={"X-Timestamp": at(second), **named})

    def large(self, second: int, size: int = 200_000, **headers: str) -> Response:
        body = b"x" * size
        sent = put_headers(second, body) | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("PUT", PATH, sent, body)

    def push(self, *frames: bytes, agreed: str = "") -> list[str]:
        headers = {"X-Backend-Agreed": agreed} if agreed else {}
        environ_path, query = "/sda/7/.replication", "step=push"
        body = b"".join(frames)
        response = self.pushed(environ_path, query, headers, body)
        assert response.status == 200, response.body
        return json.loads(bytes(response.body))  # type: ignore[arg-type, no-any-return]

    def pushed(self, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Response:
        environ = {
            "REQUEST_METHOD": "REPLICATE",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": BytesBody(body),
        }
        for name, value in {**STRONG, **headers}.items():
            environ[variable_of(name)] = value
        return self.server.handle(Request(environ))

    def data_frame(self, second: int, body: bytes = b"body") -> bytes:
        metadata = ObjectMetadata(
            name="/a/c/o",
            timestamp=at(second),
            size=len(body),
            etag=md5(body).hexdigest(),
            checksum=xxh3_128_hexdigest(body),
            content_type="text/plain",
            headers={},
            sysmeta={},
        )
        return head_of(self.digest, f"{at(second)}.data", len(body), metadata) + body

    def tombstone_frame(self, second: int) -> bytes:
        return head_of(self.digest, f"{at(second)}.ts", 0, TombstoneMetadata("/a/c/o", at(second)))

    def names_now(self) -> list[str]:
        """The files of the object."""
        return sorted(file.name for file in self.directory(data_dir="objects-2").iterdir())

    @property
    def digest(self) -> str:
        return self.directory(data_dir="objects-2").name


@pytest.fixture
def store(tmp_path: Path) -> StrongFolder:
    return StrongFolder(tmp_path)


def test_a_policy_that_is_available_has_no_table(tmp_path: Path) -> None:
    store = ServedFolder(tmp_path)
    assert store.put(1).status == 201
    assert "X-Backend-State" not in store.get().headers
    assert not (tmp_path / "sda/agreement").exists()
    assert store.call("PREPARE", headers={"X-Timestamp": at(2)}).status == 400


def test_preparing_says_what_there_is(store: StrongFolder) -> None:
    answer = store.prepare(1)
    assert (answer.status, answer.headers["X-Backend-State"], answer.headers["X-Backend-Newest"]) == (404, "-", "")
    assert store.put(2).status == 201
    answer = store.prepare(3)
    assert answer.status == 200
    assert answer.headers["Etag"] == ETAG
    assert answer.headers["X-Backend-Obj-Content-Length"] == "4"
    assert (answer.headers["X-Backend-State"], answer.headers["X-Backend-Newest"]) == (f"{at(2)}.data", at(2))
    assert answer.headers["X-Backend-Floor"] == at(3)
    assert store.delete(4).status == 204
    answer = store.prepare(5)
    assert (answer.status, answer.headers["X-Backend-State"]) == (404, f"{at(4)}.ts")


@pytest.mark.parametrize("verb", ["put", "large", "delete", "post"])
def test_a_write_before_the_floor_is_refused(store: StrongFolder, verb: str) -> None:
    assert store.put(1).status == 201
    assert store.prepare(10).status == 200
    refused = getattr(store, verb)(9)
    assert (refused.status, refused.headers["X-Backend-Floor"]) == (409, at(10))
    assert refused.headers["X-Backend-Newest"] == at(1)
    assert store.names_now() == [f"{at(1)}.data"]
    refused = getattr(store, verb)(10)
    assert refused.status == 409, "another write of the same timestamp: only who has prepared it"
    agreed = getattr(store, verb)(10, X_Backend_Agreed=at(10))
    assert agreed.status == {"put": 201, "large": 201, "delete": 204, "post": 202}[verb]


def test_a_write_that_is_agreed_on_comes_soon_or_not(store: StrongFolder) -> None:
    assert store.prepare(10).status == 404
    store.clock.elapsed += AGREED_SECONDS
    assert store.put(10, X_Backend_Agreed=at(10)).status == 409
    assert store.put(11).status == 201


def test_a_write_needs_its_preparation(store: StrongFolder) -> None:
    assert store.put(10, X_Backend_Agreed=at(10)).status == 409
    assert store.prepare(10).status == 404
    assert store.prepare(11).status == 404
    assert store.put(10, X_Backend_Agreed=at(10)).status == 409, "somebody else has prepared a later one"


def test_nothing_is_prepared_before_what_is_stored_or_prepared(store: StrongFolder) -> None:
    assert store.put(5).status == 201
    assert store.prepare(5).status == 409
    assert store.prepare(6).status == 200
    assert store.prepare(6).status == 409


@pytest.mark.parametrize("verb", ["put", "delete", "post"])
def test_a_write_must_be_newer_than_all_that_has_happened(store: StrongFolder, verb: str) -> None:
    assert store.put(1).status == 201
    assert store.post(5).status == 202
    assert getattr(store, verb)(4).status == 409, "a POST is a state of its own"
    assert getattr(store, verb)(6).status == {"put": 201, "delete": 204, "post": 202}[verb]


def test_a_kept_version_must_be_newer_too(store: StrongFolder) -> None:
    assert store.put(5, x_backend_version_mode="keep").status == 201
    assert store.put(4, x_backend_version_mode="keep").status == 409
    assert store.put(4).status == 409
    assert store.delete(6, x_backend_version_id=at(5)).status == 204
    assert store.put(6, x_backend_version_mode="keep").status == 409
    assert store.put(7, x_backend_version_mode="keep").status == 201


def test_a_post_is_for_one_state(store: StrongFolder) -> None:
    assert store.put(1).status == 201
    assert store.post(3, X_Backend_State=f"{at(0)}.data").status == 409
    assert store.post(3, X_Backend_State=f"{at(1)}.data").status == 202


def test_answers_carry_the_state_whatever_they_are(store: StrongFolder) -> None:
    assert store.get().headers["X-Backend-State"] == "-"
    store.put(1)
    state = f"{at(1)}.data"
    assert store.get().headers["X-Backend-State"] == state
    assert store.head().headers["X-Backend-State"] == state
    assert store.get(If_None_Match=ETAG).headers["X-Backend-State"] == state
    assert store.get(If_Match="other").headers["X-Backend-State"] == state
    assert store.get(Range="bytes=99-").headers["X-Backend-State"] == state
    names = store.head(X_Backend_Names_Only="true")
    assert (names.status, names.headers["X-Backend-State"]) == (200, state)
    store.post(2)
    assert store.get().headers["X-Backend-State"] == f"{at(1)}.data,{at(2)}.meta"
    store.delete(3)
    names = store.head(X_Backend_Names_Only="true")
    assert (names.status, names.headers["X-Backend-State"]) == (404, f"{at(3)}.ts")


def test_the_state_of_many_versions_is_short(store: StrongFolder) -> None:
    for second in range(1, STATE_NAMES_MAX + 10):
        assert store.put(second, x_backend_version_mode="keep").status == 201
    state = store.head().headers["X-Backend-State"].split(",")
    assert len(state) == STATE_NAMES_MAX
    assert state[-1] == f"{at(STATE_NAMES_MAX + 9)}!.data"


def test_a_device_whose_file_is_damaged_has_no_say(store: StrongFolder) -> None:
    store.put(1)
    file = store.directory(data_dir="objects-2") / f"{at(1)}.data"
    file.write_bytes(b"something longer than it was")
    assert store.head().status == 503


def test_a_body_that_is_decided_too_late_is_kept_for_the_next_attempt(store: StrongFolder) -> None:
    store.put(10)
    body = b"x" * 200_000
    sent, transport = put_headers(30, body), LocalTransport(lambda _: store.server)
    node, path = Device.at("127.0.0.1:6200", "sda"), ResourcePath("a", "c", "o")
    upload = transport.start_upload(BackendRequest("PUT", node, 7, path, STRONG | sent), None)
    assert upload.expect() is None
    upload.write(body)
    upload.finish({"X-Timestamp": at(5)})
    late = upload.response()
    assert (late.status, store.names_now()) == (409, [f"{at(10)}.data"])
    kept = {"X-Backend-Kept-Body": late.headers["X-Backend-Kept-Body"]}
    assert store.call("PUT", PATH, {**sent, **kept, "X-Timestamp": at(9)}, b"").status == 409
    assert store.call("PUT", PATH, {**sent, **kept}, b"").status == 201
    assert store.get().body == body
    assert store.call("PUT", PATH, {**put_headers(40, body), **kept}, b"").status == 503, "it is gone"
    assert store.call("PUT", PATH, {**sent, "X-Backend-Kept-Body": "kept/../../x"}, b"").status == 400


def test_replication_waits_while_a_write_is_decided(store: StrongFolder) -> None:
    assert store.prepare(10).status == 404
    assert store.push(store.data_frame(5)) == ["failed"]
    assert store.push(store.tombstone_frame(5)) == ["failed"]
    assert store.head().status == 404
    assert store.push(store.data_frame(11)) == ["stored"]
    store.clock.elapsed += DEFERRED_SECONDS
    assert store.push(store.tombstone_frame(5)) == ["newer"]


def test_what_a_daemon_repeats_waits_while_a_write_is_decided_and_is_taken_then(store: StrongFolder) -> None:
    """Its time is long past, and what was promised since stays for ever."""
    store.put(1)
    store.prepare(5)
    belated = {"X-Timestamp": at(3), "X-Backend-Belated": "true"}
    assert store.call("DELETE", headers={"X-Timestamp": at(3)}).status == 409
    assert store.call("DELETE", headers=belated).status == 503
    store.clock.elapsed += DEFERRED_SECONDS
    assert store.call("DELETE", headers={"X-Timestamp": at(3)}).status == 409
    assert store.call("DELETE", headers=belated).status == 204
    assert store.names_now()[-1] == f"{at(3)}.ts"


def test_what_was_prepared_for_a_repair_may_be_older(store: StrongFolder) -> None:
    assert store.prepare(10).status == 404
    assert store.push(store.data_frame(5), agreed=at(9)) == ["failed"]
    assert store.push(store.data_frame(5), agreed=at(10)) == ["stored"]
    refused = store.put(4)
    assert refused.headers["X-Backend-Pushed"] == at(5), "whether a write was ever stored cannot be told"


def test_a_repair_pushes_versions_to_another_device(store: StrongFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(1)
    asked = []

    def start_upload(request: BackendRequest, _length: object, _seconds: float) -> BackendUpload:
        asked.append(request)
        raise NodeFailure(request.node, "connect")

    monkeypatch.setattr(store.transport, "start_upload", start_upload)
    order = {"address": "10.0.0.7:6200", "device": "sdz", "names": [f"{at(1)}.data"]}
    answer = store.call("REPAIR", headers={"X-Backend-Agreed": at(5)}, body=msgspec.json.encode(order))
    assert answer.status == 503
    (request,) = asked
    assert (request.node.address, request.node.device, request.partition) == ("10.0.0.7:6200", "sdz", 7)
    assert request.headers["X-Backend-Agreed"] == at(5)
    assert store.call("REPAIR", headers={"X-Backend-Agreed": at(5)}, body=b"{}").status == 400


def test_answers_say_whether_the_container_knows(store: StrongFolder) -> None:
    assert "X-Backend-Update-Queued" not in store.put(1).headers
    store.transport.status = 503
    assert store.put(2).headers["X-Backend-Update-Queued"] == "true"
    assert store.post(3).headers["X-Backend-Update-Queued"] == "true"
    again = store.call("RESEND_CONTAINER_UPDATE", headers=CONTAINER)
    assert (again.status, again.headers["X-Backend-Update-Queued"]) == (202, "true")
    assert store.delete(4).headers["X-Backend-Update-Queued"] == "true"


def test_a_question_in_the_process_is_answered_as_over_the_network(store: StrongFolder) -> None:
    def both(device: str = "sda", **headers: str) -> list[tuple[int, str | None]]:
        sent = {**STRONG, "X-Backend-Names-Only": "true"} | {n.replace("_", "-"): v for n, v in headers.items()}
        node = Device(0, 1, 1, "127.0.0.1", 1, "", 0, device, 1.0)
        asked = BackendRequest("HEAD", node, 7, ResourcePath("a", "c", "o"), sent)
        transport = LocalTransport(lambda _: store.server)
        answers = [transport.ask(asked).response(), transport.request(asked)]
        return [(answer.status, answer.headers.get("X-Backend-State")) for answer in answers]

    assert both() == [(404, "-")] * 2
    assert store.put(2).status == 201
    assert both() == [(200, f"{at(2)}.data")] * 2
    assert both(X_Backend_Version_Id=at(1)) == [(404, f"{at(2)}.data")] * 2
    assert both(X_Backend_Version_Id="none") == [(400, None)] * 2
    assert both(device="gone") == [(507, None)] * 2


def test_a_disk_that_fails_under_a_question_is_told_by_its_status(
    store: StrongFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Disk, "look", failing)
    monkeypatch.setattr(Disk, "begin_look", lambda *_: (happened(), failing))
    node = Device(0, 1, 1, "127.0.0.1", 1, "", 0, "sda", 1.0)
    asked = BackendRequest("HEAD", node, 7, ResourcePath("a", "c", "o"), {**STRONG, "X-Backend-Names-Only": "true"})
    assert LocalTransport(lambda _: store.server).ask(asked).response().status == 507
