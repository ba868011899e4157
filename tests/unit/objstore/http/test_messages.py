"""Requests and responses of storage servers."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from objstore.errors import StoreError
from objstore.http import messages
from objstore.http.bodies import BytesBody
from objstore.http.errors import VALUE_ERRORS, HttpError, http_error_of
from objstore.http.messages import (
    QUERY_PARAMETERS_MAX,
    Request,
    Response,
    WsgiServer,
    error_response,
    parse_query,
    title_of,
    variable_of,
)
from objstore.policies import UnknownPolicy


def request(**environ: Any) -> Request:
    """A request with these WSGI variables."""
    return Request({"REQUEST_METHOD": "PUT", "PATH_INFO": "/d/1/a", **environ})


def test_headers_are_found_in_any_spelling() -> None:
    given = request(HTTP_X_TIMESTAMP="1", CONTENT_TYPE="t")
    assert given.header("X-Timestamp") == given.header("x-timestamp") == "1"
    assert given.header("content-type") == given.header("Content-Type") == "t"
    assert given.header("Etag") is None
    assert given.header("Etag", "x") == "x"


def test_headers_with_a_prefix() -> None:
    given = request(HTTP_X_OBJECT_META_A="1", HTTP_X_OBJECT_META_B_C="2", HTTP_X_OBJECT_METADATA="3")
    assert given.headers_with_prefix("X-Object-Meta-") == {"X-Object-Meta-A": "1", "X-Object-Meta-B-C": "2"}


def test_names_and_variables_are_inverse_and_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Content-Type", "Content-Length", "X-A", "Etag"):
        assert title_of(variable_of(name)) == name
    monkeypatch.setattr(messages, "_NAMES_MAX", 0)
    assert title_of(variable_of("X-Not-Remembered")) == "X-Not-Remembered"
    assert "X-Not-Remembered" not in messages._variables


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": "3", "b": "2"}),
        ("a&b=&=c&&", {"a": "", "b": "", "": "c"}),
        ("a+b=c%20d%2B", {"a b": "c d+"}),
        ("%C3%A9=%C3%A9", {"\xe9": "\xe9"}),
        ("\xc3\xa9=1", {"\xe9": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=%zz", {"a": "%zz"}),
    ],
)
def test_queries(text: str, parameters: dict[str, str]) -> None:
    assert request(QUERY_STRING=text).query == parse_query(text) == parameters


@pytest.mark.parametrize(("text", "status"), [("a=%FF", 412), ("\xff=1", 412), ("&" * QUERY_PARAMETERS_MAX, 400)])
def test_refused_queries(text: str, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        parse_query(text)
    assert caught.value.status == status


def test_a_query_is_parsed_once() -> None:
    given = request(QUERY_STRING="a=1")
    assert given.query is given.query


def test_lengths() -> None:
    assert request(CONTENT_LENGTH="12").content_length == 12
    assert request(CONTENT_LENGTH="").content_length is None
    assert request().content_length is None
    for value in ("x", "-1", "\u0661", "1.0"):
        with pytest.raises(HttpError):
            _ = request(CONTENT_LENGTH=value).content_length
    assert request(HTTP_TRANSFER_ENCODING="chunked").chunked
    assert not request().chunked


def test_body_and_trailers() -> None:
    given = request(**{"wsgi.input": BytesBody(b"abc", {"Etag": "x"})})
    assert given.body.read() == b"abc"
    assert given.trailers == {"Etag": "x"}


class Chunks:
    """A body of two chunks."""

    def __init__(self, length: int | None = 3) -> None:
        self.length = length
        self.closed = 0

    def __iter__(self) -> Iterator[bytes | memoryview]:
        yield b"a"
        yield memoryview(b"bc")

    def close(self) -> None:
        self.closed += 1


def answer(response: Response | WsgiServer) -> tuple[str, dict[str, str], Any]:
    """Status line, headers and result of a response called as a WSGI application."""
    started: list[Any] = []
    result = response({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *arguments: started.append(arguments))
    return started[0][0], dict(started[0][1]), result


def test_responses_are_wsgi_applications() -> None:
    assert answer(Response(200, {"X": "y"}, b"abc")) == ("200 OK", {"X": "y", "Content-Length": "3"}, (b"abc",))
    assert answer(Response(204)) == ("204 No Content", {}, ())
    assert answer(Response(299)) == ("299 Unknown", {"Content-Length": "0"}, ())
    assert answer(Response(200, {"Content-Length": "9"})) == ("200 OK", {"Content-Length": "9"}, ())
    body = Chunks()
    assert answer(Response(206, None, body)) == ("206 Partial Content", {"Content-Length": "3"}, body)
    assert answer(Response(200, None, Chunks(None)))[1] == {}
    assert answer(Response(200, {"Content-Length": "9"}, Chunks()))[1] == {"Content-Length": "9"}


def test_responses_are_read_and_closed() -> None:
    assert Response(200, None, b"abc").read_all() == b"abc"
    body = Chunks()
    assert Response(200, None, body).read_all() == b"abc"
    Response(200, None, body).close()
    assert body.closed == 2
    Response(200).close()


class Server(WsgiServer):
    """Raises what it is given."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.reported: list[Exception] = []

    def handle(self, request: Request) -> Response:
        if self.error:
            raise self.error
        return Response(201)

    def report(self, request: Request, error: Exception) -> None:
        self.reported.append(error)


@pytest.mark.parametrize(
    ("error", "line", "reported"),
    [
        (None, "201 Created", False),
        (HttpError(409, "No"), "409 Conflict", False),
        (KeyError("bug"), "500 Internal Server Error", True),
    ],
)
def test_servers_answer_whatever_happens(error: Exception | None, line: str, reported: bool) -> None:
    server = Server(error)
    assert answer(server)[0] == line
    assert bool(server.reported) == reported


def test_refusals_are_plain_text() -> None:
    response = error_response(HttpError(412, "Wrong \xe9", {"X-A": "1"}))
    assert response.headers == {"Content-Type": "text/plain; charset=utf-8", "X-A": "1"}
    assert response.read_all().decode() == "Wrong \xe9\n"


@pytest.mark.parametrize("kind", sorted(VALUE_ERRORS, key=lambda kind: kind.__name__))
def test_errors_of_values_are_answered_with_their_reason(kind: type[StoreError]) -> None:
    error = kind(*("what" for _ in dataclasses.fields(kind)))
    status, headers = VALUE_ERRORS[kind]
    answer = http_error_of(error)
    assert answer is not None
    assert (answer.status, answer.reason, answer.headers) == (status, str(error), headers)


def test_other_errors_are_no_answers() -> None:
    assert http_error_of(UnknownPolicy(1)) is None
    refusal = HttpError(418)
    assert http_error_of(refusal) is refusal
