"""Publishing a ring, as a server sees it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from objstore.headers import Backend
from objstore.http.bodies import BytesBody
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response, variable_of
from objstore.http.signing import VALID_SECONDS, Signer
from objstore.logs import Logger, Sink
from objstore.paths import PathHasher
from objstore.ring import receiver
from objstore.ring.builder import build_ring
from objstore.ring.format import format_ring, read_ring
from objstore.ring.receiver import ACTIVATE_PATH, KEY_PURPOSE, RingReceiver
from objstore.ring.ring import Ring
from objstore.ring.rings import Rings
from objstore.runtime import Runtime
from tests.doubles import ManualClock
from tests.unit.ring.factories import make_devices

PUT = "/rings/object.ring.gz"


def ring_content(version: int, seed: int = 1) -> bytes:
    built = build_ring(make_devices(6), 6, 3, seed)
    return format_ring(Ring(6, built.devices, built.rows, version))


class Server:
    """A receiver, and an operator with the key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(1_800_000_000.0)
        self.signer = Signer(PathHasher("prefix", "suffix").derived_key(KEY_PURPOSE), self.clock)
        runtime = Runtime(Logger("test", Sink()), clock=self.clock)  # type: ignore[arg-type]
        self.receiver = RingReceiver(str(folder), self.signer, runtime)

    def send(self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> Response:
        if headers is None:
            headers = self.signer.headers(method, path, hashlib.sha256(body).hexdigest())
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}
        environ |= {variable_of(name): value for name, value in headers.items()}
        environ |= {"CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesBody(body)}
        return self.receiver.handle(Request(environ))

    def refusal(self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
        before = self.files()
        with pytest.raises(HttpError) as refused:
            self.send(method, path, body, headers)
        assert self.files() == before
        return refused.value.status

    def stage(self, content: bytes, name: str = "object.ring.gz") -> dict[str, Any]:
        response = self.send("PUT", f"/rings/{name}", content)
        assert response.status == 201
        return json.loads(response.read_all())  # type: ignore[no-any-return]

    def activation(self, rings: dict[str, bytes]) -> bytes:
        return json.dumps({"rings": {name: hashlib.sha256(ring).hexdigest() for name, ring in rings.items()}}).encode()

    def activate(self, rings: dict[str, bytes]) -> dict[str, str]:
        return json.loads(self.send("POST", ACTIVATE_PATH, self.activation(rings)).read_all())  # type: ignore[no-any-return]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.name != receiver.LOCK_FILE}


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_a_ring_is_used_only_when_it_is_activated(server: Server) -> None:
    old, new = ring_content(1), ring_content(2)
    (server.folder / "object.ring.gz").write_bytes(old)
    assert server.stage(new) == {"version": 2, "running_version": 1}
    assert server.files() == {"object.ring.gz": old, "object.ring.gz.staged": new}
    server.clock.seconds += 10
    md5 = hashlib.md5(new, usedforsecurity=False).hexdigest()
    assert server.activate({"object.ring.gz": new}) == {"object.ring.gz": md5}
    assert server.files() == {"object.ring.gz": new, "object.ring.gz.previous": old}
    assert (server.folder / "object.ring.gz.previous").stat().st_mtime == server.clock.seconds


def test_activating_again_changes_nothing(server: Server) -> None:
    first, second = ring_content(1), ring_content(2)
    for content in (first, second):
        server.stage(content)
        server.activate({"object.ring.gz": content})
    server.stage(second)
    server.clock.seconds += 10
    server.activate({"object.ring.gz": second})
    previous = server.folder / "object.ring.gz.previous"
    assert previous.read_bytes() == first
    assert previous.stat().st_mtime == server.clock.seconds - 10


def test_several_rings_are_activated_together_or_not_at_all(server: Server) -> None:
    content = ring_content(1)
    server.stage(content)
    both = {"object.ring.gz": content, "account.ring.gz": content}
    assert server.refusal("POST", ACTIVATE_PATH, server.activation(both)) == 409
    server.stage(content, "account.ring.gz")
    assert set(server.activate(both)) == set(both)


def test_another_ring_staged_since_is_not_activated(server: Server) -> None:
    server.stage(ring_content(1))
    server.stage(ring_content(2))
    assert server.refusal("POST", ACTIVATE_PATH, server.activation({"object.ring.gz": ring_content(1)})) == 409


def test_workers_see_the_new_ring_at_once(server: Server) -> None:
    server.stage(ring_content(1))
    server.activate({"object.ring.gz": ring_content(1)})
    rings = Rings(str(server.folder), server.clock)
    assert rings.object(0).version == 1
    server.stage(ring_content(2))
    assert rings.object(0).version == 1
    server.activate({"object.ring.gz": ring_content(2)})
    assert rings.object(0).version == 2


@pytest.mark.parametrize("body", [b"", b"nonsense", ring_content(1)[:-30], ring_content(1) + b"x"])
def test_what_is_no_ring_is_not_kept(server: Server, body: bytes) -> None:
    assert server.refusal("PUT", PUT, body) == 422


@pytest.mark.parametrize(
    "name", ["x.ring.gz", "object-0.ring.gz", "../object.ring.gz", "object.ring.gz/", "object.ring.gz.previous", ""]
)
def test_only_names_of_rings_are_taken(server: Server, name: str) -> None:
    assert server.refusal("PUT", f"/rings/{name}", ring_content(1)) == 404


def test_methods_and_bodies_that_make_no_sense(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.refusal("GET", PUT, b"") == 405
    assert server.refusal("PUT", ACTIVATE_PATH, b"") == 405
    for body in (b"", b"[]", b'{"rings": {}}', b'{"rings": {"../x": "y"}}', b'{"rings": {}, "more": 1}'):
        assert server.refusal("POST", ACTIVATE_PATH, body) == 400
    monkeypatch.setattr(receiver, "RING_BYTES_MAX", 100)
    assert server.refusal("PUT", PUT, ring_content(1)) == 413


def test_a_request_must_be_signed_for_what_it_is(server: Server) -> None:
    body = ring_content(1)
    digest = hashlib.sha256(body).hexdigest()
    good = server.signer.headers("PUT", PUT, digest)
    stranger = Signer(PathHasher("prefix", "other").derived_key(KEY_PURPOSE), server.clock)
    bad = [
        {},
        good | {Backend.SIGNATURE: "0" * 64},
        good | {Backend.SIGNATURE: "\u00e9" * 64},
        good | {Backend.SIGNED_AT: str(int(server.clock.seconds) + 1)},
        good | {Backend.BODY_DIGEST: "0" * 64},
        server.signer.headers("PUT", "/rings/account.ring.gz", digest),
        server.signer.headers("POST", PUT, digest),
        stranger.headers("PUT", PUT, digest),
    ]
    for headers in bad:
        assert server.refusal("PUT", PUT, body, headers) == 403
    assert server.refusal("PUT", PUT, body + b"x", good) == 422
    assert server.send("PUT", PUT, body).status == 201


def test_a_request_is_taken_once(server: Server) -> None:
    body = ring_content(1)
    stage = server.signer.headers("PUT", PUT, hashlib.sha256(body).hexdigest())
    activation = server.activation({"object.ring.gz": body})
    activate = server.signer.headers("POST", ACTIVATE_PATH, hashlib.sha256(activation).hexdigest())
    assert server.send("PUT", PUT, body, stage).status == 201
    assert server.send("POST", ACTIVATE_PATH, activation, activate).status == 200
    for _ in range(2):
        server.clock.seconds += VALID_SECONDS / 3
        assert server.refusal("PUT", PUT, body, stage) == 403
        assert server.refusal("POST", ACTIVATE_PATH, activation, activate) == 403


def test_an_older_ring_is_activated_only_on_purpose(server: Server) -> None:
    for version in (1, 2):
        server.stage(ring_content(version))
        server.activate({"object.ring.gz": ring_content(version)})
    old = ring_content(1)
    server.stage(old)
    assert server.refusal("POST", ACTIVATE_PATH, server.activation({"object.ring.gz": old})) == 409
    on_purpose = json.dumps(json.loads(server.activation({"object.ring.gz": old})) | {"older": True}).encode()
    assert server.send("POST", ACTIVATE_PATH, on_purpose).status == 200
    assert read_ring(str(server.folder / "object.ring.gz")).version == 1


@pytest.mark.parametrize("late", [VALID_SECONDS + 1, -VALID_SECONDS - 1])
def test_a_signature_is_good_for_five_minutes(server: Server, late: float) -> None:
    body = ring_content(1)
    headers = server.signer.headers("PUT", PUT, hashlib.sha256(body).hexdigest())
    server.clock.seconds += late
    assert server.refusal("PUT", PUT, body, headers) == 403
    server.clock.seconds -= late * 0.9
    assert server.send("PUT", PUT, body, headers).status == 201


def test_a_disk_that_is_full_leaves_everything_as_it_was(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    server.stage(ring_content(1))
    monkeypatch.setattr(receiver.os, "replace", full)
    assert server.refusal("PUT", PUT, ring_content(2)) == 507
    assert server.refusal("POST", ACTIVATE_PATH, server.activation({"object.ring.gz": ring_content(1)})) == 507


def test_a_bad_ring_in_use_can_be_replaced(server: Server) -> None:
    (server.folder / "object.ring.gz").write_bytes(b"nonsense")
    assert server.stage(ring_content(2))["running_version"] is None
    server.activate({"object.ring.gz": ring_content(2)})
    assert read_ring(str(server.folder / "object.ring.gz")).version == 2
