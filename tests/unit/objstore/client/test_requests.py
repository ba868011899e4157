from __future__ import annotations

import io
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore.client.connections import KeptConnections, ServerAddress, Timeouts
from objstore.client.errors import (
    BodyCutShort,
    ConditionFailed,
    Conflict,
    NotFound,
    RequestFailed,
    ServerFailed,
    ServerUnreachable,
    TooManyRequests,
)
from objstore.client.requests import Content, HttpClient, RequestBody, RetryPolicy
from tests.unit.objstore.client.scripted import ScriptedServer, closed_later, response, serving


class Pauses(list[float]):
    """Notes how long a client would have slept."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def client(pauses: Pauses | None = None, attempts: int = 4, silence_seconds: float = 20.0) -> HttpClient:
    slept = Pauses() if pauses is None else pauses
    pool = KeptConnections(Timeouts(5.0, silence_seconds))
    return closed_later(HttpClient(RetryPolicy(attempts, 1.0, 20.0), pool, slept, lambda: 0.5))


def ask(server: ScriptedServer, http: HttpClient, method: str = "GET", target: str = "/x", **how: object) -> bytes:
    with http.request(ServerAddress("127.0.0.1", server.port), method, target, **how) as answer:  # type: ignore[arg-type]
        return answer.read()


def test_a_connection_is_kept_for_the_next_request() -> None:
    http = client()
    with serving(response(200, b"one"), response(204), response(200, b"two"), response(200, b"")) as server:
        got = [ask(server, http), ask(server, http, "DELETE"), ask(server, http), ask(server, http, "HEAD")]
    assert got == [b"one", b"", b"two", b""]
    assert server.connections == 1


def test_a_response_that_was_not_read_gives_up_its_connection() -> None:
    http = client()
    with serving(response(200, b"x" * 100), response(200, b"two")) as server:
        http.request(ServerAddress("127.0.0.1", server.port), "GET", "/x").close()
        assert ask(server, http) == b"two"
    assert server.connections == 2


def test_a_connection_that_the_server_closed_meanwhile_is_not_used() -> None:
    http = client()
    with serving(response(200, b"one"), response(200, b"two"), close_after_each=True) as server:
        assert ask(server, http) == b"one"
        ((kept,),) = http.pool._idle.values()
        poll = select.poll()
        poll.register(kept.sock, select.POLLIN)
        assert poll.poll(10_000), "the server closes it"
        assert ask(server, http, "BUY") == b"two"  # which is never sent twice
    assert server.connections == 2


@pytest.mark.parametrize("status", [408, 429, 498, 500, 502, 503, 504])
def test_passing_failures_are_repeated_with_growing_pauses(status: int) -> None:
    pauses = Pauses()
    with serving(response(status), response(status), response(200, b"at last")) as server:
        assert ask(server, client(pauses)) == b"at last"
    assert pauses == [1.0, 2.0]


def test_retry_after_lengthens_a_pause_up_to_the_limit() -> None:
    pauses = Pauses()
    with serving(response(503, Retry_After="7"), response(503, Retry_After="3600"), response(200)) as server:
        ask(server, client(pauses))
    assert pauses == [7.0, 20.0]


def test_attempts_are_limited() -> None:
    with serving(*[response(503, b"busy")] * 9) as server:
        with pytest.raises(ServerFailed, match="GET /x: 503 busy"):
            ask(server, client(attempts=3))
        assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (409, Conflict), (412, ConditionFailed), (400, RequestFailed)]
)
def test_refusals_are_not_repeated(status: int, kind: type[RequestFailed]) -> None:
    with serving(response(status, b"no,\nbecause")) as server:
        with pytest.raises(kind) as failed:
            ask(server, client())
        assert type(failed.value) is kind
    assert (failed.value.status, failed.value.reason) == (status, "no, because")
    assert len(server.asked) == 1


def test_accepted_statuses_are_no_errors() -> None:
    with serving(response(404, b"gone")) as server:
        assert ask(server, client(), accept={404}) == b"gone"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE", "COPY"])
def test_what_may_be_done_twice_is_repeated_when_the_connection_breaks(method: str) -> None:
    with serving(None, response(200)) as server:
        ask(server, client(), method)
        assert [each.method for each in server.asked] == [method, method]


def test_a_method_that_nobody_knows_is_sent_once() -> None:
    with serving(None, response(200)) as server:
        with pytest.raises(ServerUnreachable):
            ask(server, client(), "BUY")
        assert len(server.asked) == 1


def test_a_conditional_write_is_sent_once_since_its_first_attempt_may_have_succeeded() -> None:
    for answer, error in ((None, ServerUnreachable), (response(503), ServerFailed)):
        with serving(answer, response(412)) as server:
            with pytest.raises(error):
                ask(server, client(), "PUT", headers={"If-None-Match": "*"}, body=RequestBody(b"x"))
            assert len(server.asked) == 1


def test_a_conditional_read_is_repeated() -> None:
    with serving(None, response(200, b"x")) as server:
        assert ask(server, client(), headers={"If-Match": "a"}) == b"x"


def test_a_repeated_delete_that_finds_nothing_is_done() -> None:
    with serving(None, response(404)) as server:
        assert ask(server, client(), "DELETE") == b""
    with serving(response(404)) as server, pytest.raises(NotFound):
        ask(server, client(), "DELETE")


CONTENTS: dict[str, Callable[[], Content]] = {
    "bytes": lambda: b"hello world",
    "file": lambda: io.BytesIO(b"hello world"),
    "pieces": lambda: [b"hello", b"", b" world"],
    "function": lambda: lambda: iter([b"hello ", b"world"]),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("length", [None, 11])
def test_bodies_that_can_be_sent_again_are_sent_whole_each_time(kind: str, length: int | None) -> None:
    with serving(response(503), None, response(201)) as server:
        ask(server, client(), "PUT", body=RequestBody(CONTENTS[kind](), length))
        assert [each.body for each in server.asked] == [b"hello world"] * 3
        chunked = length is None and kind in ("pieces", "function")
        assert ("transfer-encoding" in server.asked[0].headers) is chunked


def test_an_iterator_is_sent_once() -> None:
    with serving(response(503), response(201)) as server:
        with pytest.raises(ServerFailed):
            ask(server, client(), "PUT", body=RequestBody(iter([b"hello"])))
        assert len(server.asked) == 1


def test_a_file_is_sent_from_where_it_stands_and_no_further_than_the_length(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file, serving(response(503), response(201), response(201)) as server:
        file.seek(4)
        ask(server, client(), "PUT", body=RequestBody(file))
        file.seek(2)
        ask(server, client(), "PUT", body=RequestBody(file, 3))
        assert [each.body for each in server.asked] == [b"456789", b"456789", b"234"]


@pytest.mark.parametrize("length", [3, 9])
def test_a_body_of_another_length_than_announced_is_an_error_of_the_caller(length: int) -> None:
    with serving(response(201)) as server, pytest.raises(ValueError, match="announced"):
        ask(server, client(), "PUT", body=RequestBody([b"hello"], length))


def test_errors_of_the_body_reach_the_caller_as_they_are() -> None:
    def pieces() -> Iterator[bytes]:
        yield b"a"
        raise FileNotFoundError("the source is gone")

    with serving(response(201)) as server, pytest.raises(FileNotFoundError, match="the source is gone"):
        ask(server, client(), "PUT", body=RequestBody(pieces))


def test_a_server_that_refuses_before_it_has_read_everything_is_listened_to() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(response(413, b"too large", Connection="close"))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
        connection.close()

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    with pytest.raises(RequestFailed, match="413 too large"):
        where = ServerAddress("127.0.0.1", listener.getsockname()[1])
        client().request(where, "PUT", "/x", body=RequestBody([b"x" * 65536] * 32))
    thread.join(10)
    listener.close()


def test_nobody_listening_is_an_error_that_names_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    pauses = Pauses()
    with pytest.raises(ServerUnreachable, match=f"127.0.0.1:{port}: Connection refused"):
        client(pauses).request(ServerAddress("127.0.0.1", port), "BUY", "/x")
    assert len(pauses) == 3, "what never reached the server may be repeated, whatever it is"


def test_silence_ends_with_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServerUnreachable, match="timed out"):
        where = ServerAddress("127.0.0.1", silent.getsockname()[1])
        client(silence_seconds=0.1, attempts=1).request(where, "GET", "/x")


def test_a_body_that_ends_early_is_an_error() -> None:
    with serving(response(200, b"half", length=8)) as server, pytest.raises(BodyCutShort, match="4 bytes early"):
        ask(server, client())


def test_a_body_larger_than_the_limit_is_not_read_whole() -> None:
    with serving(response(200, b"12345")) as server:
        answer = client().request(ServerAddress("127.0.0.1", server.port), "GET", "/x")
        with answer, pytest.raises(BodyCutShort, match="more than 4 bytes"):
            answer.read(4)


def test_headers_are_text_in_utf8_both_ways() -> None:
    with serving(response(200, X_Name="grün")) as server:
        where = ServerAddress("127.0.0.1", server.port)
        with client().request(where, "GET", "/x", headers={"X-Meta": "blau ü"}) as answer:
            assert answer.headers["x-name"] == "grün"
        assert server.asked[0].headers["x-meta"] == "blau ü"


def test_too_many_requests_is_an_error_of_its_own() -> None:
    with serving(*[response(498)] * 4) as server, pytest.raises(TooManyRequests):
        ask(server, client())


@pytest.mark.parametrize(
    ("url", "server", "path"),
    [
        ("http://a/auth/v1.0", ServerAddress("a", 80), "/auth/v1.0"),
        ("https://a:8443/v1/x", ServerAddress("a", 8443, tls=True), "/v1/x"),
        ("http://[::1]:8080/", ServerAddress("::1", 8080), "/"),
    ],
)
def test_urls(url: str, server: ServerAddress, path: str) -> None:
    assert ServerAddress.of_url(url) == (server, path)


@pytest.mark.parametrize("url", ["ftp://a/b", "nonsense", "http:///x", ""])
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        ServerAddress.of_url(url)
