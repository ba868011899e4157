"""Connections that hold places, and what becomes of open ones when a store reloads or stops."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from objstore.http.body_chunks import LARGE_BUFFERS_MAX
from tests.functional.client import Client
from tests.functional.servers import Store, resident_bytes
from tests.waiting import elapse, wait_until

MIB = 1024 * 1024
ANSWER_SECONDS = 5.0  # far above what an answer takes, far below any wait for a silent client


def configure(store: Store, **options: object) -> None:
    """Start a store once to make it, and again with these options of [server]; one worker."""
    store.options = ["--workers", "1"]
    store.start()
    store.stop()
    with (store.folder / "proxy.toml").open("a") as file:
        file.write("\n[server]\n" + "".join(f"{name} = {value}\n" for name, value in options.items()))
    store.start()


def ask(store: Store, source: str) -> int:
    """The status of a health check that a client of this address asks for, over a connection of its own."""
    with closing(
        http.client.HTTPConnection(store.host, store.port, timeout=ANSWER_SECONDS, source_address=(source, 0))
    ) as connection:
        connection.request("GET", "/healthcheck")
        return connection.getresponse().status


@pytest.mark.parametrize("sent", [b"", b"GET /healthcheck HTTP/1.1\r\nHo"])
def test_connections_without_a_request_keep_nobody_out(own_store: Store, sent: bytes) -> None:
    configure(own_store, max_clients=40, max_clients_per_address=0)
    client = Client.login(own_store.host, own_store.port)
    with ExitStack() as stack:
        for _ in range(80):
            silent = stack.enter_context(socket.create_connection((own_store.host, own_store.port)))
            silent.sendall(sent)
        assert [ask(own_store, source) for source in ("127.0.0.1", "127.0.0.2")] == [200, 200]
        began = time.monotonic()
        assert client.put("c").status == 201
        assert time.monotonic() - began < ANSWER_SECONDS


def test_requests_of_one_address_leave_room_for_others(own_store: Store) -> None:
    configure(own_store, max_clients=40, max_clients_per_address=20)
    client = Client.login(own_store.host, own_store.port)
    assert client.put("c").status == 201
    head = (
        f"PUT /v1/{client.account}/c/o HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\nContent-Length: 9\r\n\r\n"
    )
    with ExitStack() as stack:
        for _ in range(80):
            slow = stack.enter_context(socket.create_connection((own_store.host, own_store.port)))
            try:
                slow.sendall(head.encode())
            except OSError:
                pass  # refused already
        wait_until(lambda: "TooManyConnections" in own_store.log, "the refusals are logged")
        assert ask(own_store, "127.0.0.1") == 503
        assert ask(own_store, "127.0.0.2") == 200
    assert own_store.log.count("TooManyConnections('127.0.0.1')") == 1


def test_stalled_uploads_share_a_budget_of_memory(own_store: Store) -> None:
    own_store.options = ["--workers", "1"]
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    assert client.put("c").status == 201
    assert client.put("c/o", [b"x" * MIB] * 8).status == 201
    before = sum(resident_bytes(process) for process in own_store.processes())
    head = f"PUT /v1/{client.account}/c/o%d HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\n"
    head += "Transfer-Encoding: chunked\r\n\r\n40000000\r\n"
    uploads, sent = 100, bytes(10 * MIB)  # more than kernels hold for a server that does not read
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        sockets = [
            stack.enter_context(socket.create_connection((own_store.host, own_store.port))) for _ in range(uploads)
        ]
        for number, sock in enumerate(sockets):
            sock.sendall((head % number).encode())
        list(pool.map(lambda sock: sock.sendall(sent), sockets))
        grown = sum(resident_bytes(process) for process in own_store.processes()) - before
        assert grown < (LARGE_BUFFERS_MAX + uploads) * MIB
        assert client.put("c/o", [b"x" * MIB] * 8).status == 201


def slow_put(store: Store, client: Client, pieces: int, begun: threading.Event) -> int:
    """The status of an upload that takes a tenth of a second for each piece; 0 if it is cut off."""

    def body() -> Iterator[bytes]:
        for _ in range(pieces):
            yield b"x" * 10_000
            begun.set()
            elapse(0.1, "a slow client")

    try:
        return Client(store.host, store.port, account=client.account, token=client.token).put("c/slow", body()).status
    except (OSError, http.client.HTTPException):
        return 0


@pytest.mark.parametrize(("drain_timeout", "status"), [("1d", 201), ("1s", 0)])
def test_a_reload_gives_transfers_their_drain_timeout(own_store: Store, drain_timeout: str, status: int) -> None:
    configure(own_store, drain_timeout=f'"{drain_timeout}"')
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    begun = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(slow_put, own_store, client, 30, begun)
        assert begun.wait(20)
        assert own_store.process is not None
        own_store.process.send_signal(signal.SIGHUP)
        assert upload.result() == status
    assert client.get("c/slow").status == (200 if status else 404)


def test_connections_that_come_while_a_store_stops_are_refused(own_store: Store) -> None:
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    begun = threading.Event()

    def refused() -> bool:
        try:
            socket.create_connection((own_store.host, own_store.port), 5).close()
        except ConnectionRefusedError:
            return True
        return False

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(slow_put, own_store, client, 30, begun)
        assert begun.wait(20)
        assert own_store.process is not None
        own_store.process.send_signal(signal.SIGTERM)
        wait_until(refused, "new connections are refused")
        assert not upload.done()
        assert upload.result() == 201
    assert own_store.stop() == 0
