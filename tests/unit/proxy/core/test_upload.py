"""Uploads, small and large, over nodes that fail in every way."""

from __future__ import annotations

from hashlib import md5

import pytest
import xxhash

from objstore.http.bodies import BytesBody, ClientDisconnected, ClientTimeout
from objstore.limits import Limits
from tests.unit.proxy.store import Reply, ScriptedStore

PATH = "/v1/AUTH_a/c/o"
SMALL, LARGE = b"x" * 1000, bytes(range(256)) * 12_000
STORED, REFUSES, FULL, SILENT = Reply(201), Reply(refuses=True), Reply(507), Reply(silent=True)


class LeavingBody(BytesBody):
    """Ends with an error after its content."""

    def __init__(self, content: bytes, error: Exception) -> None:
        super().__init__(content)
        self.error = error

    def read(self, size: int = -1) -> bytes:
        part = super().read(size)
        if not part or size < 0:
            raise self.error
        return part


def store_of(*replies: Reply, otherwise: Reply = STORED) -> ScriptedStore:
    store = ScriptedStore()
    store.otherwise = otherwise
    store.objects = {f"o{number}": reply for number, reply in enumerate(replies)}
    return store


@pytest.mark.parametrize("content", [b"", SMALL, b"x" * 65536])
@pytest.mark.parametrize("chunked", [False, True])
def test_small_ones_go_out_in_one_message(content: bytes, chunked: bool) -> None:
    store = store_of()
    answer = store.send("PUT", PATH, body=BytesBody(content) if chunked else content)
    etag = md5(content).hexdigest()
    assert (answer.status, answer.headers["Etag"]) == (201, etag)
    assert answer.headers["Last-Modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert [call.node for call in store.calls()] == ["o0", "o1", "o2"]
    for call in store.calls():
        assert call.body == content
        assert call.headers["Etag"] == etag
        assert call.headers["X-Backend-Body-Checksum"] == xxhash.xxh3_128_hexdigest(content)
        assert call.headers["X-Timestamp"] == "1700000000.00000"


@pytest.mark.parametrize("chunked", [False, True])
def test_large_ones_carry_their_checksums_behind(chunked: bool) -> None:
    store = store_of()
    headers = {} if chunked else {"Content-Length": str(len(LARGE))}
    answer = store.send("PUT", PATH, headers, BytesBody(LARGE))
    etag = md5(LARGE).hexdigest()
    assert (answer.status, answer.headers["Etag"]) == (201, etag)
    assert len(store.calls()) == 3
    for call in store.calls():
        assert call.complete
        assert call.body == LARGE
        assert call.trailers == {"Etag": etag, "X-Backend-Body-Checksum": xxhash.xxh3_128_hexdigest(LARGE)}
        assert call.headers["Trailer"] == "Etag, X-Backend-Body-Checksum"


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("bad", [REFUSES, Reply(507, early=True), SILENT], ids=["refuses", "full", "silent"])
@pytest.mark.parametrize("bad_node", [0, 1, 2])
def test_one_bad_node_does_not_matter(content: bytes, bad: Reply, bad_node: int) -> None:
    replies = [STORED, STORED, STORED]
    replies[bad_node] = bad
    store = store_of(*replies)
    assert store.send("PUT", PATH, body=content).status == 201
    took = [
        call.node for call in store.calls() if call.complete and call.body == content and call.node != f"o{bad_node}"
    ]
    assert len(took) == (2 if bad is SILENT else 3)


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_handoffs_take_the_place_of_all_primaries(content: bytes) -> None:
    store = store_of(REFUSES, REFUSES, REFUSES)
    assert store.send("PUT", PATH, body=content).status == 201
    assert sorted(call.node for call in store.calls()) == ["o3", "o4", "o5"]
    told = {call.headers["X-Container-Device"] for call in store.calls()}
    assert told == {"c0", "c1", "c2"}


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("bad", [REFUSES, FULL, SILENT], ids=["refuses", "full", "silent"])
def test_without_a_quorum_nothing_is_acknowledged(content: bytes, bad: Reply) -> None:
    store = store_of(STORED, otherwise=bad)
    assert store.send("PUT", PATH, body=content).status == 503


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("status", "expected"), [(409, 202), (412, 412), (422, 422)])
def test_refusals_of_the_nodes(content: bytes, status: int, expected: int) -> None:
    for early in (False, True):
        store = store_of(otherwise=Reply(status, early=early))
        assert store.send("PUT", PATH, body=content).status == expected


def test_a_node_that_fails_in_the_middle_is_dropped() -> None:
    store = store_of(Reply(201, stops_at=1_500_000))
    assert store.send("PUT", PATH, body=LARGE).status == 201
    first, second, third = store.calls("PUT")
    assert first.abandoned
    assert not first.complete
    assert second.body == third.body == LARGE


def test_two_nodes_that_fail_in_the_middle_end_it() -> None:
    store = store_of(Reply(201, stops_at=1_500_000), Reply(201, stops_at=2_000_000))
    assert store.send("PUT", PATH, body=LARGE).status == 503
    assert [call.complete for call in store.calls()] == [False, False, False]
    assert store.calls()[2].abandoned


@pytest.mark.parametrize(("error", "status"), [(ClientDisconnected(), 499), (ClientTimeout(), 408)])
@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_client_that_leaves_or_stalls_leaves_nothing(
    error: Exception, status: int, content: bytes, chunked: bool
) -> None:
    store = store_of()
    headers = {} if chunked else {"Content-Length": str(len(content) + 10)}
    assert store.send("PUT", PATH, headers, LeavingBody(content, error)).status == status
    assert all(call.abandoned and not call.complete for call in store.calls())


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_body_shorter_than_announced_leaves_nothing(content: bytes) -> None:
    store = store_of()
    answer = store.send("PUT", PATH, {"Content-Length": str(len(content) + 10)}, BytesBody(content))
    assert answer.status == 499
    assert all(call.abandoned and not call.complete for call in store.calls())


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("etag", "status"), [(None, 201), ("0" * 32, 422)])
def test_the_etag_of_the_client_is_checked(content: bytes, etag: str | None, status: int) -> None:
    for template in ("{}", '"{}"'):
        store = store_of()
        given = template.format(md5(content).hexdigest() if etag is None else etag)
        assert store.send("PUT", PATH, {"Etag": given}, content).status == status
        assert sum(call.complete for call in store.calls()) == (3 if status == 201 else 0)


def test_a_chunked_body_has_a_limit_too() -> None:
    store = ScriptedStore(limits=Limits(max_file_size=2_000_000))
    store.otherwise = STORED
    assert store.send("PUT", PATH, body=BytesBody(LARGE)).status == 413
    assert [call.complete for call in store.calls()] == [False, False, False]
    assert store.send("PUT", PATH, body=LARGE).status == 413
    assert store.send("PUT", PATH, body=BytesBody(LARGE[:2_000_000])).status == 201


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_body_that_turns_out_too_long_reaches_no_node(content: bytes) -> None:
    store = ScriptedStore(limits=Limits(max_file_size=len(SMALL) - 1))
    store.otherwise = STORED
    assert store.send("PUT", PATH, body=BytesBody(content)).status == 413
    assert store.calls() == []
    assert store.send("PUT", PATH, body=BytesBody(SMALL[1:])).status == 201


def test_a_refusal_comes_before_the_body_if_the_client_waits_for_it() -> None:
    store = store_of(otherwise=Reply(412, early=True))
    unread = LeavingBody(b"", ClientDisconnected())
    headers = {"If-None-Match": "*", "Expect": "100-continue", "Content-Length": "10"}
    assert store.send("PUT", PATH, headers, unread).status == 412
    assert store.calls()[0].headers["If-None-Match"] == "*"


def test_four_replicas_need_two_and_tell_all_containers() -> None:
    store = ScriptedStore(replicas=4, devices=8)
    store.otherwise = REFUSES
    store.objects = {"o0": STORED, "o5": STORED}
    assert store.send("PUT", PATH, body=SMALL).status == 201
    store.otherwise = STORED
    store.send("PUT", PATH, body=SMALL)
    told = [call.headers.get("X-Container-Device") for call in store.calls()[-4:]]
    assert told == ["c0", "c1", "c2", "c0"]
