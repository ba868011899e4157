"""Uploads that fail when all but their end has been stored: nothing of them stays, and no server is surprised."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.functional.client import Client, Wire
from tests.functional.servers import Store
from tests.functional.test_bad_input import unfinished
from tests.waiting import wait_until

MIB = 1024 * 1024
BODY = bytes(range(256)) * 4096 * 8
CLIENTS = 8
ROUNDS = 4


def wrong_etag(client: Client, name: str) -> None:
    assert client.put(name, BODY, {"Etag": "0" * 32}).status == 422


def wrong_etag_in_chunks(client: Client, name: str) -> None:
    def pieces() -> Iterator[bytes]:
        for start in range(0, len(BODY), MIB):
            yield BODY[start : start + MIB]

    assert client.put(name, pieces(), {"Etag": "0" * 32}).status == 422


def bad_last_chunk(client: Client, name: str) -> None:
    head = f"PUT /v1/{client.account}/{name} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\n"
    with Wire(client.host, client.port) as wire:
        wire.send(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(BODY):x}\r\n".encode() + BODY + b"\r\nno size\r\n")
        assert wire.answer().status == 400


def vanishes(client: Client, name: str) -> None:
    head = f"PUT /v1/{client.account}/{name} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\n"
    with Wire(client.host, client.port) as wire:
        wire.send(f"{head}Content-Length: {len(BODY) + 1}\r\n\r\n".encode() + BODY)


@pytest.mark.parametrize("fail", [wrong_etag, wrong_etag_in_chunks, bad_last_chunk, vanishes])
def test_uploads_that_fail_at_their_end(
    store: Store, client: Client, container: str, fail: Callable[[Client, str], None]
) -> None:
    clients = [Client(client.host, client.port, account=client.account, token=client.token) for _ in range(CLIENTS)]
    names = [f"{container}/{number}" for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(ROUNDS):
            list(pool.map(partial(fail), clients, names))
    assert [client.get(name).status for name in names] == [404] * CLIENTS
    assert client.names(container) == []
    wait_until(lambda: not unfinished(store), "unfinished files are gone")
