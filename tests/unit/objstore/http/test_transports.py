"""Both transports, held to the same: a caller cannot tell whether a server is far away or in this process."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from objstore.devices import Device
from objstore.http.bodies import ClientDisconnected
from objstore.http.messages import Environ, WsgiApplication
from objstore.http.transport import NodeFailure, Transport, wait_any
from objstore.system import concurrency
from tests.unit.objstore.http.nodes import in_process, over_the_network, request
from tests.unit.objstore.http.storage import TEXT, Pieces, Server, essence
from tests.unit.objstore.http.wire import descriptors, settle
from tests.waiting import elapse_in_hub

Reach = Callable[[WsgiApplication], AbstractContextManager[tuple[Transport, Device]]]


@pytest.fixture(params=[in_process, over_the_network], ids=["local", "http"])
def reach(request: pytest.FixtureRequest) -> Reach:
    """A way to serve an application and reach it."""
    way: Reach = request.param
    return way


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("GET", (200, {"Etag": "x", "X-Object-Meta-A": "h\xe9"}, b"onetwo")),
        ("HEAD", (200, {"Etag": "x", "X-Object-Meta-A": "h\xe9"}, b"")),
        ("EMPTY", (204, {}, b"")),
        ("SAME", (304, {}, b"")),
        ("FAIL", (500, TEXT, b"Internal Server Error\n")),
        ("PUT", (201, {"Etag": "none"}, b"")),
    ],
)
def test_answers(reach: Reach, method: str, expected: object) -> None:
    server = Server()
    with reach(server) as (transport, node):
        for _ in range(3):
            assert essence(transport.request(request(node, method))) == expected
        settle(lambda: server.pieces.closed == (3 if method in ("GET", "HEAD", "SAME") else 0))


def test_what_the_server_sees(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        headers = {"X-Timestamp": "1", "Content-Type": "t", "X-Object-Meta-A": "h\xc3\xa9"}
        transport.request(request(node, "PUT", headers, "h\xe9 /%?", "a=%20b"), b"content").close()
        seen = server.seen[0]
        assert seen.path.encode("latin-1").decode() == "/sda/7/a/c/h\xe9 /%?"
        assert (seen.query, seen.method, seen.content_length) == ({"a": " b"}, "PUT", 7)
        assert {name: seen.header(name) for name in headers} == headers
        assert not seen.chunked
        assert server.bodies == [b"content"]


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 1_000_000])
def test_whole_bodies(reach: Reach, size: int) -> None:
    server = Server()
    with reach(server) as (transport, node):
        assert transport.request(request(node, "PUT"), b"x" * size).status == 201
        assert server.bodies == [b"x" * size]


def test_ways_to_read_an_answer(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        for length in (6, None):
            server.pieces.length = length
            body = transport.request(request(node)).body
            assert body.length == length
            assert (body.read(2), body.read()) == (b"on", b"etwo")
            assert body.read(5) == b""
            body.close()
            body = transport.request(request(node)).body
            buffer = memoryview(bytearray(4))
            assert (body.readinto(buffer), bytes(buffer)) == (4, b"onet")
            assert (body.readinto(buffer), bytes(buffer[:2])) == (2, b"wo")
            assert body.readinto(buffer) == 0
            body.close()
            body = transport.request(request(node)).body
            assert body.read(1) == b"o"
            assert b"".join(bytes(chunk) for chunk in body) == b"netwo"
            body.close()
            response = transport.request(request(node))
            assert response.read_all(6) == b"onetwo"
            with pytest.raises(ValueError, match="longer than 5"):
                transport.request(request(node)).read_all(5)
            transport.request(request(node)).close()
        settle(lambda: server.pieces.closed == 12)


@pytest.mark.parametrize(
    ("chunks", "length"), [([b"one"], 6), ([b"one", KeyError("bug")], 6), ([b"one", KeyError("bug")], None),
                           ([b"one", b"much more"], 6)]
)  # fmt: skip
def test_answers_that_break_off(reach: Reach, chunks: list[Any], length: int | None) -> None:
    server = Server()
    server.pieces = Pieces(chunks, length)
    with reach(server) as (transport, node):
        body = transport.request(request(node)).body
        with pytest.raises(NodeFailure):
            while body.read(2):
                pass
        body.close()
        settle(lambda: server.pieces.closed == 1)


@pytest.mark.parametrize("small", [False, True])
def test_uploads(reach: Reach, small: bool) -> None:
    server = Server()
    with reach(server) as (transport, node):
        for length in (None, 100014):
            upload = transport.start_upload(request(node, "PUT", {"X-Small": "y"} if small else {}), length)
            assert upload.expect() is None
            buffer = bytearray(b"hello, ")
            upload.write(memoryview(buffer))
            upload.write(b"")
            upload.write(b"x" * 100000)
            buffer[:] = b"changed"  # it was free to change once the next write had returned
            upload.write(b"goodbye")
            upload.finish({"Etag": "abc"})
            response = upload.response()
            assert essence(response)[:2] == (201, {"Etag": "abc"})
            assert server.bodies.pop() == b"hello, " + b"x" * 100000 + b"goodbye"
            assert server.seen[-1].header("X-Backend-Obj-Content-Length") == (None if length is None else "100014")
            assert server.seen[-1].chunked


def test_uploads_read_into_a_buffer(reach: Reach) -> None:
    with reach(Server()) as (transport, node):
        upload = transport.start_upload(request(node, "INTO"), None)
        for chunk in (b"a" * 7, b"b" * 7, b"c" * 30):
            upload.write(chunk)
        upload.finish({})
        assert upload.response().read_all() == b"a" * 7 + b"b" * 7 + b"c" * 30


def test_refused_uploads(reach: Reach) -> None:
    with reach(Server()) as (transport, node):
        upload = transport.start_upload(request(node, "PUT", {"X-Refuse": "y"}), 5)
        refusal = upload.expect()
        assert refusal is not None
        upload.write(b"12345")
        upload.finish({})
        assert upload.response() is refusal
        assert upload.ready
        assert essence(refusal) == (409, {**TEXT, "X-Backend-Timestamp": "1"} | (
            {"Connection": "close"} if "Connection" in refusal.headers else {}), b"Refused\n")  # fmt: skip
        assert transport.request(request(node, "PUT"), b"next").status == 201


def test_uploads_refused_in_the_middle(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        for size in (10, 50_000_000):
            upload = transport.start_upload(request(node, "PUT", {"X-Refuse-After": "y"}), None)
            assert upload.expect() is None
            for _ in range(10):
                upload.write(b"x" * (size // 10))
            upload.finish({})
            assert upload.response().status == 507
            upload.abandon()
            assert transport.request(request(node, "PUT"), b"next").status == 201
            assert server.bodies[-1] == b"next"


def test_an_upload_refused_unfinished_keeps_no_connection(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        upload = transport.start_upload(request(node, "PUT", {"X-Refuse-After": "y"}), None)
        assert upload.expect() is None
        upload.write(b"x" * 10)
        assert wait_any([upload], 5.0) == [upload]
        assert upload.response().status == 507
        upload.response().close()
        assert transport.request(request(node, "PUT"), b"next").status == 201
        assert server.bodies == [b"next"]


def test_an_abandoned_upload_is_not_taken_for_whole(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        upload = transport.start_upload(request(node, "PUT"), None)
        assert upload.expect() is None
        upload.write(b"half")
        upload.abandon()
        settle(lambda: len(server.bodies) == 1)
        assert isinstance(server.bodies[0], ClientDisconnected)
        with pytest.raises(NodeFailure):
            upload.write(b"more")
        with pytest.raises(NodeFailure):
            upload.finish({})
        with pytest.raises(NodeFailure):
            upload.response()
        with pytest.raises(NodeFailure):
            upload.expect()
        upload.abandon()


def test_a_whole_upload_is_kept_though_nobody_waits_for_its_answer(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        upload = transport.start_upload(request(node, "PUT"), None)
        upload.expect()
        upload.write(b"whole")
        upload.finish({})
        upload.abandon()
        settle(lambda: server.bodies == [b"whole"])


def test_a_server_that_does_not_answer_in_time(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        for exchange in (
            transport.start(request(node, "SLOW"), b"", 0.01),
            transport.start_upload(request(node, "SLOW"), None, 0.01),
        ):
            with pytest.raises(NodeFailure, match="timeout"):
                exchange.response()
            with pytest.raises(NodeFailure, match="timeout"):
                exchange.response()
            assert exchange.ready
            exchange.abandon()
        upload = transport.start_upload(request(node, "SLOW"), None, 0.01)
        with pytest.raises(NodeFailure, match="timeout"):
            upload.expect()
        server.go.set()
        settle(lambda: server.pieces.closed == 3)


def test_a_server_that_does_not_read_in_time(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        upload = transport.start_upload(request(node, "SLOW"), None, 0.01)
        with pytest.raises(NodeFailure, match="timeout"):
            for _ in range(100):
                upload.write(b"x" * 1_000_000)
        with pytest.raises(NodeFailure):
            upload.finish({})
        server.go.set()
        settle(lambda: server.pieces.closed == 1)


def test_an_abandoned_answer_is_let_go(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        early, late = (transport.start(request(node, "SLOW")) for _ in range(2))
        early.abandon()
        elapse_in_hub(0.002, "the server may notice that nobody waits")
        server.go.set()
        late.response()
        late.abandon()
        settle(lambda: server.pieces.closed == 2)
        with pytest.raises(NodeFailure):
            early.response()


def test_waiting_for_any(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        assert wait_any([], 0.01) == []
        slow = transport.start(request(node, "SLOW"))
        assert wait_any([slow], 0.005) == []
        quick = transport.start(request(node, "PUT"))
        assert wait_any([slow, quick], 5.0) == [quick]
        upload = transport.start_upload(request(node, "PUT"), None)
        assert upload.expect() is None
        assert wait_any([slow, upload], 0.005) == []
        upload.finish({})
        assert wait_any([slow, upload], None) == [upload]
        server.go.set()
        assert wait_any([slow], 5.0) == [slow]
        assert [slow.response().read_all(), upload.response().status] == [b"onetwo", 201]


def test_waiting_for_a_mixture() -> None:
    near, far = Server(), Server()
    with in_process(near) as (local, here), over_the_network(far) as (remote, there):
        ways = ((local, here), (remote, there))
        exchanges = [transport.start(request(node, "SLOW")) for transport, node in ways]
        assert wait_any(exchanges, 0.005) == []
        near.go.set()
        assert wait_any(exchanges, 5.0) == exchanges[:1]
        concurrency.call_later(0.005, far.go.set)
        assert wait_any(exchanges[1:], 5.0) == exchanges[1:]
        assert [exchange.response().read_all() for exchange in exchanges] == [b"onetwo", b"onetwo"]
        uploads = [transport.start_upload(request(node, "PUT"), None) for transport, node in ways]
        for upload in uploads:
            upload.finish({})
            assert upload.response().status == 201


def test_applications_that_fail_without_an_answer(reach: Reach, capsys: pytest.CaptureFixture[str]) -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        raise KeyError("bug")

    with reach(application) as (transport, node):
        assert transport.request(request(node)).status == 500
        assert transport.request(request(node, "PUT"), b"abc").status == 500


def test_several_parts_and_generators(reach: Reach) -> None:
    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("X-A", "1")])
        return (b"a", b"b") if environ["REQUEST_METHOD"] == "GET" else [b"a", b"", b"b"]

    with reach(application) as (transport, node):
        assert transport.request(request(node)).read_all() == b"ab"
        assert transport.request(request(node, "LIST")).read_all() == b"ab"


def test_killed_callers_leave_nothing(reach: Reach) -> None:
    server = Server()
    with reach(server) as (transport, node):
        transport.request(request(node)).read_all()
        before = descriptors()

        def call() -> None:
            exchange = transport.start(request(node, "SLOW"))
            try:
                exchange.response()
            finally:
                exchange.abandon()

        tasks = [concurrency.spawn(call) for _ in range(5)]
        settle(lambda: len(server.seen) == 6)
        for task in tasks:
            task.kill()
        server.go.set()
        settle(lambda: all(task.dead for task in tasks) and server.pieces.closed == 6)
        settle(lambda: descriptors() <= before + 1)
