"""Heads of requests and answers, and above all what is refused: what two servers could read differently."""

from typing import Any

import pytest

from objstore.http import heads
from objstore.http.errors import HttpError
from objstore.http.heads import HeadLimits, parse_request, parse_response

LINE = b"PUT /a HTTP/1.1\r\nHost: x\r\n"


def parsed(head: bytes) -> dict[str, Any]:
    """The environ of a request."""
    environ: dict[str, Any] = {}
    parse_request(head, environ, HeadLimits())
    return environ


def test_a_request() -> None:
    environ = parsed(b"PUT /v1/a%20b/c?x=%41&y HTTP/1.1\r\nHost: h:1\r\nContent-Type: t\r\nX-A: \t1 \t\r\nX-B:\r\n\r\n")
    assert environ == {
        "REQUEST_METHOD": "PUT",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "PATH_INFO": "/v1/a b/c",
        "QUERY_STRING": "x=%41&y",
        "objstore.raw_path": "/v1/a%20b/c",
        "HTTP_HOST": "h:1",
        "CONTENT_TYPE": "t",
        "HTTP_X_A": "1",
        "HTTP_X_B": "",
    }


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
        b"Transfer-Encoding: gzip\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip\r\nX : y\r\n",
        b"Transfer-Encoding:\r\nContent-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5 5\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 9999999999999999999\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Type: a\r\nContent-Type: b\r\n",
        b"Host: a\r\nHost: b\r\n",
        b"X: a\r\n b\r\n",
        b"X: a\r\n\tb\r\n",
        b" X: a\r\n",
        b"X : a\r\n",
        b"X\t: a\r\n",
        b": a\r\n",
        b"X\r\n",
        b"X: a\nY: b\r\n",
        b"X: a\rY: b\r\n",
        b"X: a\x00b\r\n",
        b"X: a\x01b\r\n",
        b"X: a\x7fb\r\n",
        b"X\x00: a\r\n",
        b"X-\xe9: a\r\n",
        b"X(: a\r\n",
    ],
)
def test_refused_headers(lines: bytes) -> None:
    with pytest.raises(HttpError) as caught:
        parsed(LINE + lines + b"\r\n")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/2.0", 505),
        (b"GET / RTSP/1.0", 505),
        (b"GET /", 505),
        (b"GET / HTTP/1.2", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET / HTTP/11", 400),
        (b"GET", 400),
        (b"", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET / b HTTP/1.1", 400),
        (b"GET /a\tb HTTP/1.1", 400),
        (b"GET /a\0b HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET a:b HTTP/1.1", 400),
        (b"GET http: HTTP/1.1", 400),
        (b"GET http:///path HTTP/1.1", 400),
        (b"GET http://h:99999/ HTTP/1.1", 400),
        (b"CONNECT h:80 HTTP/1.1", 400),
        (b"G\xc3\xa9T / HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"A" * 41 + b" / HTTP/1.1", 400),
        (b"GET /%zz HTTP/1.1", 400),
        (b"GET /%4 HTTP/1.1", 400),
        (b"GET /% HTTP/1.1", 400),
        (b"GET /%u1234 HTTP/1.1", 400),
        (b"GET /" + b"a" * 8200 + b" HTTP/1.1", 414),
    ],
)
def test_refused_request_lines(line: bytes, status: int) -> None:
    with pytest.raises(HttpError) as caught:
        parsed(line + b"\r\nHost: x\r\nX: y\r\n\r\n")
    assert caught.value.status == status


@pytest.mark.parametrize(
    "host",
    [
        b"evil.com/x?", b"a b", b"a,b", b"a@b", b"a#b", b"a?b", b"a\\b", b"<a>", b'"a"', b"a:b", b"a:99999", b"a:-1",
        b"a:80:80", b"[::1", b"::1", b"[::1]a", b"[::g]", b"[1.2.3.4]", b"[]", b"a%", b"a%zz", b"http://a",
    ],
)  # fmt: skip
def test_hosts_that_are_none_are_refused(host: bytes) -> None:
    with pytest.raises(HttpError, match="Invalid Host header") as caught:
        parsed(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a",
        "A.example",
        "b\xc3\xbccher.de",
        "a.example.",
        "a_b.example",
        "127.0.0.1:8080",
        "a:",
        "a:65535",
        "[::1]",
        "[::1]:80",
        "a%2Db",
    ],
)
def test_hosts_that_are_fine(host: str) -> None:
    for _ in range(2):  # the second time it is known
        assert parsed(b"GET / HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\n\r\n")["HTTP_HOST"] == host


def test_the_host_of_a_target_is_checked_too() -> None:
    with pytest.raises(HttpError) as caught:
        parsed(b"GET http://a,b/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert caught.value.status == 400


@pytest.mark.parametrize("line", [b"GET /a b HTTP/1.1", b"GET /a HTTP/1.1 "])
def test_blanks_in_a_request_line_are_explained(line: bytes) -> None:
    with pytest.raises(HttpError, match="a method, a target and HTTP/1.1"):
        parsed(line + b"\r\nHost: x\r\n\r\n")


def test_a_request_names_its_host() -> None:
    for target in (b"/a", b"http://h/a"):
        with pytest.raises(HttpError, match="No Host header") as caught:
            parsed(b"GET " + target + b" HTTP/1.1\r\nX: y\r\n\r\n")
        assert caught.value.status == 400
    assert parsed(b"GET /a HTTP/1.1\r\nHost:\r\n\r\n")["HTTP_HOST"] == ""
    assert "HTTP_HOST" not in parsed(b"GET /a HTTP/1.0\r\n\r\n")


def test_one_request_is_not_two() -> None:
    with pytest.raises(HttpError):
        parsed(b"GET /a HTTP/1.1\nHost: a\n\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")


def test_transfer_codings() -> None:
    assert parsed(LINE + b"Transfer-Encoding: Chunked \r\n\r\n")["HTTP_TRANSFER_ENCODING"] == "Chunked"
    for unknown in (b"gzip", b"gzip, chunked", b"identity", b"xchunked", b"gzip\r\nTransfer-Encoding: br"):
        with pytest.raises(HttpError) as caught:
            parsed(LINE + b"Transfer-Encoding: " + unknown + b"\r\n\r\n")
        assert caught.value.status == 501
    with pytest.raises(HttpError) as caught:
        parsed(b"PUT /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert caught.value.status == 400


def test_framing_is_checked_even_where_the_parser_is_lenient() -> None:
    for environ in (
        {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5", "SERVER_PROTOCOL": "HTTP/1.1"},
        {"CONTENT_LENGTH": "\u0665"},
        {"CONTENT_LENGTH": ""},
    ):
        with pytest.raises(HttpError) as caught:
            heads._check_framing(environ)
        assert caught.value.status == 400


def test_limits() -> None:
    limits = HeadLimits(line_bytes=40, header_bytes=20, headers=3)

    def status(head: bytes) -> int:
        try:
            parse_request(head, {}, limits)
        except HttpError as error:
            return error.status
        return 0

    assert status(b"GET /" + b"a" * 25 + b" HTTP/1.1\r\nHost: x\r\n\r\n") == 0
    assert status(b"GET /" + b"a" * 30 + b" HTTP/1.1\r\nHost: x\r\n\r\n") == 414
    assert status(b"GET / HTTP/1.1\r\nHost: x\r\nName: " + b"v" * 16 + b"\r\n\r\n") == 0
    assert status(b"GET / HTTP/1.1\r\nHost: x\r\nName: " + b"v" * 17 + b"\r\n\r\n") == 400
    assert status(b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\n\r\n") == 0
    assert status(b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\nA: 2\r\n_: 3\r\n\r\n") == 400


@pytest.mark.parametrize("kind", [b"Object", b"Container", b"account", b"Remove-Container"])
def test_underscores_in_the_names_of_metadata_become_dashes(kind: bytes) -> None:
    environ = parsed(LINE + b"X-" + kind + b"-Meta-My_Own_Name: 1\r\n\r\n")
    assert environ[f"HTTP_X_{kind.decode().upper().replace('-', '_')}_META_MY_OWN_NAME"] == "1"


@pytest.mark.parametrize("name", [b"X-Object_Meta-A", b"X_Object-Meta-A", b"X-Object-Sysmeta-A_B", b"X-Backend_Meta-A"])
def test_underscores_elsewhere_do_not(name: bytes) -> None:
    assert not [key for key in parsed(LINE + name + b": 1\r\n\r\n") if key.startswith("HTTP_X_")]


def test_names_with_underscores_do_not_stand_for_those_with_dashes() -> None:
    environ = parsed(LINE + b"X_Timestamp: 1\r\nX-Timestamp: 2\r\nContent_Length: 5\r\n\r\n")
    assert environ["HTTP_X_TIMESTAMP"] == "2"
    assert "CONTENT_LENGTH" not in environ


def test_headers_of_one_name_are_joined() -> None:
    assert parsed(LINE + b"X-A: 1\r\nx-a: 2\r\n\r\n")["HTTP_X_A"] == "1,2"


def test_any_method_is_for_the_application_to_judge() -> None:
    for method in ("get", "UPDATE", "REPLICATE", "FOO-BAR", "M-SEARCH", "PRI", "BREW"):
        assert parsed(method.encode() + b" /a HTTP/1.1\r\nHost: x\r\n\r\n")["REQUEST_METHOD"] == method


def test_bytes_beyond_ascii() -> None:
    environ = parsed("GET /h\xe9?\xe9 HTTP/1.1\r\nHost: x\r\nX: \xe9\r\n\r\n".encode())
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/h\xe9"
    assert environ["objstore.raw_path"] == "/h%C3%A9"
    assert environ["QUERY_STRING"] == "%C3%A9"
    assert environ["HTTP_X"].encode("latin-1").decode() == "\xe9"


@pytest.mark.parametrize(
    ("target", "path", "query", "host"),
    [
        (b"http://h:80/p%41?q", "/pA", "q", "h:80"),
        (b"http://h", "/", "", "h"),
        (b"https://h?q", "/", "q", "h"),
        (b"http://[::1]:8080/p", "/p", "", "[::1]:8080"),
        (b"*", "/*", "", "x"),
        (b"/a//b/../c#d", "/a//b/../c#d", "", "x"),
        (b"//h/p", "//h/p", "", "x"),
    ],
)
def test_forms_of_targets(target: bytes, path: str, query: str, host: str) -> None:
    environ = parsed(b"OPTIONS " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"], environ["HTTP_HOST"]) == (path, query, host)


def test_upgrades_are_not_taken_up() -> None:
    environ = parsed(LINE + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n")
    assert environ["CONTENT_LENGTH"] == "3"


@pytest.mark.parametrize("body", [b"", b"Content-Length: 0\r\n", b"Content-Length: 3\r\n"])
def test_keeping_alive(body: bytes) -> None:
    def kept(version: bytes, connection: bytes) -> bool:
        return parse_request(
            b"PUT / HTTP/" + version + b"\r\nHost: x\r\n" + body + connection + b"\r\n", {}, HeadLimits()
        )

    assert kept(b"1.1", b"")
    assert kept(b"1.1", b"Connection: X-Foo\r\n")
    assert not kept(b"1.1", b"Connection: close\r\n")
    assert not kept(b"1.1", b"Connection: Keep-Alive, CLOSE\r\n")
    assert not kept(b"1.0", b"")
    assert kept(b"1.0", b"Connection: Keep-Alive\r\n")


def test_remembered_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_NAMES_MAX", 0)
    assert parsed(LINE + b"X-Never-Seen-Before: 1\r\n\r\n")["HTTP_X_NEVER_SEEN_BEFORE"] == "1"
    assert b"X-Never-Seen-Before" not in heads._keys
    assert parse_response(b"HTTP/1.1 200 OK\r\nx-never-seen: 1\r\n\r\n").headers == {"X-Never-Seen": "1"}
    assert b"x-never-seen" not in heads._titles


def test_answers() -> None:
    head = parse_response(b"HTTP/1.1 201 Created\r\netag: x \r\nContent-Length: 0\r\nVary: a\r\nvary: b\r\n\r\n")
    assert (head.status, head.keep_alive) == (201, True)
    assert head.headers == {"Etag": "x", "Content-Length": "0", "Vary": "a,b"}
    assert not parse_response(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").keep_alive
    assert not parse_response(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive
    assert parse_response(b"HTTP/1.1 100 Continue\r\n\r\n").status == 100
    assert parse_response(b"HTTP/1.1 200 OK\r\n\r\n").keep_alive


@pytest.mark.parametrize(
    "head",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 20000 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
    ],
)
def test_malformed_answers(head: bytes) -> None:
    with pytest.raises(ValueError, match="malformed response"):
        parse_response(head)
