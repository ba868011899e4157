"""What no honest client sends: a fitting status, one line that says why, and nothing left on disk."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.functional.client import Answer, Client, Wire
from tests.functional.servers import Store
from tests.waiting import wait_until

MANY_SECONDS = 90.0


@pytest.fixture
def head(client: Client, container: str) -> str:
    """The beginning of a PUT of container/bad, up to its headers."""
    return f"PUT /v1/{client.account}/{container}/bad HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\n"


@pytest.fixture(autouse=True)
def nothing_stays(client: Client, container: str, store: Store) -> Iterator[None]:
    """After each test: no object in the container, no unfinished file on any device."""
    yield
    assert client.names(container) == []
    wait_until(lambda: not unfinished(store), "servers notice that their clients have gone")


def unfinished(store: Store) -> list[str]:
    """Files in the folders of unfinished files, and unnamed files that a process still holds open."""
    named = [str(path) for device in store.folder.glob("d*") for tmp in device.glob("tmp*") for path in tmp.iterdir()]
    opened = [target(file) for process in store.processes() for file in Path(f"/proc/{process}/fd").iterdir()]
    return named + [path for path in opened if path.startswith(f"{store.folder}/d") and path.endswith("(deleted)")]


def target(link: Path) -> str:
    """Where a link of /proc leads; "" if the file has been closed meanwhile."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def exchange(client: Client, request: bytes) -> Answer:
    """Send bytes, read one answer."""
    with Wire(client.host, client.port) as wire:
        wire.send(request)
        return wire.answer()


def assert_refused(answer: Answer, status: int) -> None:
    assert answer.status == status, answer.body
    assert len(answer.body.decode().strip().splitlines()) <= 1, answer.body


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/{account}/{container}/%ff", 412),
        ("/v1/{account}/{container}/%C3%28", 412),
        ("/v1/{account}/%ff/o", 412),
        ("/v1/{account}/{container}/a%00b", 412),
        ("/v1/{account}/{container}/%", 400),
        ("/v1/{account}/{container}/%zz", 400),
        ("/v1/{account}/{container}/" + "x" * 1025, 400),
        ("/v1/{account}/" + "x" * 257 + "/o", 400),
        ("/v1/{account}/{container}/" + "x" * 9000, 414),
        ("/v2/{account}/{container}/o", 412),
    ],
)
def test_bad_targets(client: Client, container: str, target: str, status: int) -> None:
    full = target.format(account=client.account, container=container)
    assert_refused(client.raw("PUT", full, {"Content-Length": "0"}), status)
    client.close()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        ("Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("Content-Length: 3, 4\r\n\r\nabcd", 400),
        ("Content-Length: -1\r\n\r\n", 400),
        ("Content-Length: abc\r\n\r\nabc", 400),
        ("Content-Length: +3\r\n\r\nabc", 400),
        ("Content-Length: 0x3\r\n\r\nabc", 400),
        ("Content-Length: " + "9" * 30 + "\r\n\r\n", 400),
        ("\r\n", 411),
        ("Transfer-Encoding: gzip\r\n\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n3 ;" + "x" * 20000 + "\r\nabc\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n\r\n" + "f" * 40 + "\r\nabc\r\n0\r\n\r\n", 400),
        ("Content-Length: 3\r\nBad Header: x\r\n\r\nabc", 400),
        ("Content-Length: 3\r\n: x\r\n\r\nabc", 400),
        ("Content-Length: 3\r\nNoColon\r\n\r\nabc", 400),
        ("Content-Length: 3\r\nX-Object-Meta-A: a\0b\r\n\r\nabc", 400),
        ("Content-Length: 3\r\nX-Object-Meta-A: a\r\n folded\r\n\r\nabc", 400),
        ("Content-Length: 3\r\nX-Object-Meta-A: " + "x" * 9000 + "\r\n\r\nabc", 400),
        ("Content-Length: 3\r\n" + "".join(f"A{n}: x\r\n" for n in range(10_000)) + "\r\nabc", 400),
        ("Content-Length: 3\r\n" + "".join(f"A{n}: x\r\n" for n in range(130)) + "\r\nabc", 400),
    ],
)
def test_bad_heads_and_framing(client: Client, head: str, fields: str, status: int) -> None:
    assert_refused(exchange(client, (head + fields).encode("latin-1")), status)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "Content-Length"),
        ("Content-Length: 3, 4\r\n\r\nabcd", "Content-Length"),
        ("Transfer-Encoding: gzip\r\n\r\n", "Transfer-Encoding"),
        ("Content-Length: 3\r\nX-Object-Meta-A: a\0b\r\n\r\nabc", "header value"),
        ("Content-Length: 3\r\nBad Header: x\r\n\r\nabc", "header token"),
        ("Transfer-Encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n", "chunk size"),
    ],
)
def test_the_answer_says_what_is_wrong(client: Client, head: str, fields: str, reason: str) -> None:
    assert reason in exchange(client, (head + fields).encode("latin-1")).text


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        ("\x16\x03\x01\x02\r\n\r\n", 400),
        ("GET /\x01 HTTP/1.1\r\n\r\n", 400),
        ("get / http\r\n\r\n", 400),
    ],
)
def test_bad_request_lines(client: Client, request_line: str, status: int) -> None:
    assert_refused(exchange(client, request_line.encode("latin-1") + b"\r\n\r\n"), status)


def test_a_body_shorter_than_announced(client: Client, container: str, head: str) -> None:
    for fields in ("Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186A0\r\n"):
        with Wire(client.host, client.port) as wire:
            wire.send((head + fields).encode() + b"x" * 50_000)
            wire.socket.shutdown(1)
            assert wire.answer().status == 499
        assert client.get(f"{container}/bad").status == 404


def test_a_body_longer_than_announced_is_the_next_request(client: Client, container: str, head: str) -> None:
    with Wire(client.host, client.port) as wire:
        wire.send((head + "Content-Length: 3\r\n\r\nabcdef\r\n\r\n").encode())
        assert wire.answer().status == 201
        assert_refused(wire.answer(), 400)
    assert client.get(f"{container}/bad").body == b"abc"
    client.delete(f"{container}/bad")


def test_a_client_that_vanishes(client: Client, container: str, store: Store, head: str) -> None:
    for fields in ("Content-Length: 10000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nf00000\r\n"):
        with Wire(client.host, client.port) as wire:
            wire.send((head + fields).encode() + b"x" * 3_000_000)
        wait_until(lambda: not unfinished(store), "the server notices that its client has gone")
        assert client.get(f"{container}/bad").status == 404


@pytest.mark.parametrize(
    ("value", "status"),
    [("bytes=-99999999999999999999-5", 200), ("bytes=" + "9" * 400 + "-", 416), ("bytes=5-" + "9" * 400, 206)],
)
def test_absurd_ranges(client: Client, container: str, value: str, status: int) -> None:
    client.put(f"{container}/bad", b"0123456789")
    assert client.get(f"{container}/bad", {"Range": value}).status == status
    client.delete(f"{container}/bad")


def test_header_injection(client: Client, container: str) -> None:
    target = f"/v1/{client.account}/{container}/a%0d%0aX-Injected:%201"
    answer = client.raw("PUT", target, {"Content-Length": "0"})
    assert "x-injected" not in answer.headers
    answer = client.raw("GET", target)
    assert "x-injected" not in answer.headers
    client.raw("DELETE", target)
    copied = client.raw("PUT", f"/v1/{client.account}/{container}/bad", {"X-Copy-From": "/a/b%0d%0aX-Injected: 1"})
    assert "x-injected" not in copied.headers
    answer = client.raw("GET", "/v1/x%0d%0aX-Injected:%201")
    assert "x-injected" not in answer.headers


def test_a_pipelined_request_is_answered_in_turn(client: Client) -> None:
    with Wire(client.host, client.port) as wire:
        wire.send(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        first = wire.socket.recv(65536)
        while first.count(b"HTTP/1.1 200") < 3:
            more = wire.socket.recv(65536)
            assert more
            first += more


def test_expect_100_continue(client: Client, container: str, head: str) -> None:
    with Wire(client.host, client.port) as wire:
        wire.send((head + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n").encode())
        assert wire.socket.recv(1024).startswith(b"HTTP/1.1 100 ")
        wire.send(b"abc")
        assert wire.answer().status == 201
    client.delete(f"{container}/bad")


def test_expect_is_refused_before_the_body(client: Client, container: str, head: str) -> None:
    absent = head.replace(f"/{container}/", "/absent/")
    assert exchange(client, (absent + "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n").encode()).status == 404
    client.put(f"{container}/bad", b"1")
    conditional = head + "Content-Length: 3\r\nIf-None-Match: *\r\nExpect: 100-continue\r\n\r\n"
    assert exchange(client, conditional.encode()).status == 412
    client.delete(f"{container}/bad")


def test_slow_heads_are_cut_off_while_others_are_served(client: Client) -> None:
    slow = [Wire(client.host, client.port, timeout_seconds=MANY_SECONDS) for _ in range(50)]
    for wire in slow:
        wire.send(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\nX-A: ")
    started = time.monotonic()
    assert client.raw("GET", "/healthcheck").status == 200
    assert time.monotonic() - started < 2
    for wire in slow:
        wire.socket.close()


def test_no_descriptors_are_lost(client: Client, store: Store, head: str) -> None:
    def open_files() -> int:
        """Sockets and object files; databases stay open on purpose, up to a limit."""
        links = []
        for process in store.processes():
            for number in os.listdir(f"/proc/{process}/fd"):
                with suppress(FileNotFoundError):
                    links.append(os.readlink(f"/proc/{process}/fd/{number}"))
        return len([link for link in links if ".db" not in link])

    before = open_files()
    for _ in range(100):
        with Wire(client.host, client.port) as wire:
            wire.send((head + "Content-Length: 100\r\n\r\nabc").encode())
    wait_until(lambda: open_files() <= before + 20, "servers close what clients have left")
