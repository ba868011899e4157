"""Objects of a strong policy on real servers: conditions are decided once, and what was acknowledged is read."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functional.client import Client
from tests.functional.servers import NODES
from tests.functional.test_strong_listings import Strong
from tests.waiting import wait_until

ABSENT = {"If-None-Match": "*"}
LARGE = 300_000


@pytest.fixture(scope="module", params=[(), ("--policy", "gold=ec:2+2")], ids=["replication", "fragments"])
def strong(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Strong]:
    made = Strong(tmp_path_factory.mktemp("strong") / "cluster", request.param)
    try:
        yield made
    finally:
        made.cluster.run("stop")


def first(client: Client, path: str, body: bytes) -> int:
    """Be the first to write, and try again while the outcome is not known: a body that streams is sent once only."""
    statuses: list[int] = []

    def is_known() -> bool:
        statuses.append(client.put(path, body, ABSENT).status)
        return statuses[-1] != 503

    wait_until(is_known, "an outcome")
    return statuses[-1]


@pytest.mark.parametrize("size", [10, LARGE])
def test_of_many_that_want_to_be_first_one_is(strong: Strong, size: int) -> None:
    clients = [strong.client(node) for node in (*NODES, *NODES)]
    clients[0].put("races")
    for number in range(5):
        path = f"races/{size}-{number}"
        bodies = [bytes([index]) * size for index in range(len(clients))]
        with ThreadPoolExecutor(len(clients)) as threads:
            tasks = [threads.submit(first, client, path, body) for client, body in zip(clients, bodies, strict=True)]
            statuses = [task.result() for task in tasks]
        assert set(statuses) <= {201, 412}
        won = [body for body, status in zip(bodies, statuses, strict=True) if status == 201]
        assert len(won) <= 1  # none if the winner was not told, and was refused by its own object
        read = {client.get(path).body for client in clients}
        assert read == set(won) or (not won and len(read) == 1 and read <= set(bodies))


def test_a_write_is_read_through_every_proxy_while_a_node_is_silent(strong: Strong) -> None:
    clients = [strong.client(node) for node in NODES]
    clients[0].put("down")
    for node in NODES[1:3]:
        strong.signal(node, "object", signal.SIGSTOP)
        for number in range(6):
            path, etag = f"down/{node}-{number}", ""
            for each in range(3):
                body = f"{each}".encode() * (LARGE if each == 1 else 1)
                condition = {"If-Match": f'"{etag}"'} if each else ABSENT
                written = clients[0].put(path, body, condition)
                assert written.status == 201
                etag = written.headers["etag"]
                assert {client.get(path).body for client in (clients[0], clients[-1])} == {body}
            assert clients[0].put(path, b"x", ABSENT).status == 412
            assert clients[0].delete(path, {"If-Match": '"0"'}).status == 412
            assert clients[0].delete(path, {"If-Match": f'"{etag}"'}).status == 204
        strong.signal(node, "object", signal.SIGCONT)
