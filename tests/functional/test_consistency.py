"""What clients can rely on when they break off, race, or meet replicas that differ; on real processes."""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functional.client import Client
from tests.functional.test_faults import Faulty
from tests.waiting import elapse

REPLICATION, FRAGMENTS = (), ("--policy", "gold=ec:2+2")


@pytest.fixture(scope="module", params=[REPLICATION, FRAGMENTS], ids=["replication", "fragments"])
def faulty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    made = Faulty(tmp_path_factory.mktemp("consistency") / "cluster", request.param)
    try:
        yield made
    finally:
        made.cluster.run("stop")


def test_an_upload_that_breaks_off_stores_nothing(faulty: Faulty) -> None:
    """The former object stays, whether the length was announced or the body came in chunks."""
    client = faulty.client()
    client.put("partial")
    client.put("partial/o", b"before")
    for header, body in (
        ("Content-Length: 1000000", b"x" * 400_000),
        ("Transfer-Encoding: chunked", b"61a80\r\n" + b"x" * 400_000 + b"\r\n"),
    ):
        connection = http.client.HTTPConnection(client.host, client.port, timeout=10)
        connection.connect()
        path = f"/v1/{client.account}/partial/o"
        head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {client.token}\r\n{header}\r\n\r\n"
        connection.sock.sendall(head.encode() + body)
        elapse(0.3, "the servers take in what has come")
        connection.close()
    faulty.heal()
    for node in range(1, 5):
        assert faulty.client(node).get("partial/o").body == b"before"
    assert [row["bytes"] for row in client.rows("partial")] == [6]


def test_replicas_agree_after_puts_and_posts_that_race(faulty: Faulty) -> None:
    """Body, ETag, metadata and listing belong to one PUT and one POST, on all replicas."""
    client = faulty.client()
    client.put("racing")
    client.put("racing/o", b"first")
    clients = [faulty.client(node) for node in range(1, 5)]
    bodies = {hashlib.md5(body).hexdigest(): body for body in (f"{n}-".encode() * 2000 for n in range(12))}
    bodies[hashlib.md5(b"first").hexdigest()] = b"first"
    turns = threading.Barrier(4)

    def work(number: int) -> list[int]:
        each = clients[number]
        statuses = []
        for turn in range(3):
            turns.wait(60)
            if number % 2:
                statuses.append(each.post("racing/o", {"X-Object-Meta-A": f"{number}-{turn}"}).status)
            else:
                statuses.append(each.put("racing/o", list(bodies.values())[turn * 4 + number]).status)
        return statuses

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(work, range(4)))
    # 202 of a PUT: another one of the same moment is newer
    assert {status for number in (0, 2) for status in statuses[number]} <= {201, 202}, statuses
    # 409 of a POST: a newer PUT was there first
    assert {status for number in (1, 3) for status in statuses[number]} <= {202, 409}, statuses
    faulty.heal()
    seen = set()
    for each in clients:
        answer = each.get("racing/o", {"X-Newest": "true"})
        etag = answer.headers["etag"].strip('"')
        assert answer.body == bodies[etag]
        seen.add((etag, answer.headers.get("x-object-meta-a"), answer.headers["x-timestamp"]))
    assert len(seen) == 1
    assert {row["hash"] for row in client.rows("racing")} == {next(iter(seen))[0]}
    for place, holders in faulty.copies().items():
        assert len({holder.partition(" ")[2] for holder in holders}) == 1, place


@pytest.mark.parametrize("faulty", [REPLICATION], indirect=True, ids=["replication"])
@pytest.mark.parametrize("holders", [1, 2])
def test_a_deleted_object_is_gone_even_if_some_replicas_lacked_it(faulty: Faulty, holders: int) -> None:
    """The answer is that of a quorum; the object is gone for everybody, and stays so."""
    client: Client = faulty.client()
    name = f"mixed-{holders}"
    client.put(name)
    client.put(f"{name}/o", name.encode())
    held = [path for node in range(1, 5) for path in faulty.files(node) if path.read_bytes() == name.encode()]
    assert len(held) == 3
    for path in held[holders:]:
        path.unlink()
        path.parent.rmdir()
    assert client.delete(f"{name}/o").status == (204 if holders == 2 else 404)
    faulty.heal()
    for node in range(1, 5):
        assert faulty.client(node).get(f"{name}/o").status == 404
    assert client.names(name) == []
    assert client.delete(name).status == 204
