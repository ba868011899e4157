"""What was acknowledged stays: over restarts, kills, and from one worker to another."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from objstore.object.metadata import ATTRIBUTE
from tests.functional.client import Client
from tests.functional.servers import Store, free_port, resident_bytes, wait_until_healthy
from tests.waiting import elapse, wait_until

MIB = 1024 * 1024


def test_a_restart_finds_everything(own_store: Store) -> None:
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c", headers={"X-Container-Meta-A": "1", "X-Container-Read": ".r:*"})
    client.put("c/o", b"content", {"X-Object-Meta-B": "2"})
    assert own_store.stop() == 0
    own_store.start()
    # The same token, on the same data, by another process.
    client.close()
    assert client.get("c/o").headers["x-object-meta-b"] == "2"
    assert client.head("c").headers["x-container-meta-a"] == "1"
    assert client.names() == ["c"]
    assert client.names("c") == ["o"]
    assert client.anonymous().get("c/o").body == b"content"


@pytest.mark.parametrize(
    ("dying", "options"), [("all", []), ("master", []), ("workers", []), ("all", ["--policy", "gold=ec:2+2"])]
)
def test_what_was_acknowledged_survives_a_kill(own_store: Store, dying: str, options: list[str]) -> None:
    own_store.options += options
    own_store.start()
    first = Client.login(own_store.host, own_store.port)
    first.put("c")
    acknowledged: dict[str, str] = {}
    in_doubt: set[str] = set()
    stop = threading.Event()

    def write(writer: int) -> None:
        client = Client(first.host, first.port, account=first.account, token=first.token)
        for number in range(100_000):
            if stop.is_set():
                return
            name, content = f"c/{writer}-{number}", f"{writer}-{number}".encode() * (1 + number % 2000)
            in_doubt.add(name)
            try:
                if client.put(name, content).status == 201 and number % 3:
                    acknowledged[name] = hashlib.md5(content).hexdigest()
                elif client.delete(name).status != 204:
                    continue
                in_doubt.discard(name)
            except OSError:
                stop.wait(0.05)  # whether that one was stored, or deleted, nobody knows

    master, *workers = own_store.processes()
    with ThreadPoolExecutor(8) as writers:
        for writer in range(8):
            writers.submit(write, writer)
        wait_until(lambda: len(acknowledged) > 100, "a hundred writes")
        for process in {"all": [master, *workers], "master": [master], "workers": workers}[dying]:
            os.kill(process, signal.SIGKILL)
        elapse(0.5, "clients go on writing to what is left")
        stop.set()
    first.close()
    if dying == "workers":
        wait_until_healthy(own_store.host, own_store.port)  # others have taken their places
    else:
        own_store.kill()
        own_store.start()
    listed = set(first.names("c"))
    for name, etag in acknowledged.items():
        assert hashlib.md5(first.get(name).body).hexdigest() == etag, name
        assert name.removeprefix("c/") in listed
    # A client tries again when its connection breaks: where other workers answer, none of its writes may be in doubt.
    assert in_doubt or dying == "workers"

    def listed_is_what_can_be_read() -> bool:
        now_listed = set(first.names("c"))
        return all((first.get(name).status == 200) == (name.removeprefix("c/") in now_listed) for name in in_doubt)

    wait_until(listed_is_what_can_be_read, "what can be read is listed, and nothing else", 60)
    assert first.put("c/after", b"x").status == 201


def test_a_worker_that_dies_is_replaced(own_store: Store) -> None:
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    master, *workers = own_store.processes()
    assert len(workers) >= 2
    for worker in workers:
        os.kill(worker, signal.SIGKILL)

    def answers() -> bool:
        client.close()
        try:
            return client.get("c").status == 204
        except OSError:
            return False

    wait_until(answers, "a worker comes back")
    assert own_store.processes()[0] == master


def test_workers_end_with_their_master(own_store: Store) -> None:
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    assert own_store.process is not None
    own_store.process.kill()
    own_store.process.wait()
    own_store.start()  # the address and the folder are free at once
    client.close()
    assert client.head("c").status == 204


def every_worker(client: Client, count: int = 12) -> list[Client]:
    """Several connections: with two workers, some to each."""
    return [Client(client.host, client.port, account=client.account, token=client.token) for _ in range(count)]


def test_all_workers_see_a_change_at_once(client: Client) -> None:
    clients = every_worker(client)
    for each in clients:
        each.raw("GET", "/healthcheck")  # all connections open
    for turn in range(10):
        name = f"seen-{turn}-{time.monotonic_ns()}"
        assert [each.head(name).status for each in clients] == [404] * len(clients)
        assert clients[turn % 3].put(name).status == 201
        assert [each.head(name).status for each in clients] == [204] * len(clients)
        assert clients[(turn + 1) % 3].put(f"{name}/o", b"x").status == 201
        nobody = [each.anonymous() for each in clients]
        assert [each.get(f"{name}/o").status for each in nobody] == [401] * len(clients)
        clients[(turn + 2) % 3].post(name, {"X-Container-Read": ".r:*"})
        assert [each.get(f"{name}/o").status for each in nobody] == [200] * len(clients)
        clients[turn % 3].post(name, {"X-Remove-Container-Read": "x"})
        assert [each.get(f"{name}/o").status for each in nobody] == [401] * len(clients)
        assert [each.names(name) for each in clients] == [["o"]] * len(clients)
        clients[turn % 2].delete(f"{name}/o")
        assert [each.get(f"{name}/o").status for each in clients] == [404] * len(clients)
        assert clients[turn % 5].delete(name).status == 204
        assert [each.put(f"{name}/o", b"x").status for each in clients] == [404] * len(clients)


def test_concurrent_writes_of_one_object_leave_one(client: Client, container: str) -> None:
    clients = every_worker(client, 8)
    with ThreadPoolExecutor(8) as pool:
        for turn in range(10):
            contents = [f"{turn}-{number}".encode() * 3000 for number in range(8)]
            answers = list(pool.map(lambda c, b: c.put(f"{container}/o", b).status, clients, contents))
            assert set(answers) <= {201, 202}
            read = [each.get(f"{container}/o").body for each in clients]
            assert len(set(read)) == 1
            assert read[0] in contents
    assert client.head(container).headers["x-container-object-count"] == "1"


def test_a_drain_lets_a_request_finish(own_store: Store) -> None:
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c")

    begun = threading.Event()

    def slowly() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 1000
            begun.set()
            elapse(0.05, "a slow client, that is still sending when the drain begins")

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(client.put, "c/slow", slowly())
        assert begun.wait(20)
        assert own_store.stop() == 0
        assert upload.result().status == 201
    own_store.start()
    assert client.get("c/slow").headers["content-length"] == "20000"


def test_memory_does_not_grow_with_an_object(own_store: Store) -> None:
    own_store.options = ["--workers", "1"]
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    client.put("c/warm", [b"x" * MIB] * 8)
    client.get("c/warm")
    before = sum(resident_bytes(process) for process in own_store.processes())
    size = 200
    block = bytes(range(256)) * 4096
    assert client.put("c/large", (block for _ in range(size))).status == 201
    after_put = sum(resident_bytes(process) for process in own_store.processes())
    answer = client.get("c/large")
    assert len(answer.body) == size * MIB
    after_get = sum(resident_bytes(process) for process in own_store.processes())
    assert after_put - before < 32 * MIB
    assert after_get - before < 32 * MIB


def test_a_copy_without_extended_attributes_is_not_served(own_store: Store, tmp_path: Path) -> None:
    own_store.start()
    client = Client.login(own_store.host, own_store.port)
    client.put("c")
    names = [f"c/{number}" for number in range(40)]
    for name in names:
        assert client.put(name, name.encode()).status == 201
    assert own_store.stop() == 0
    original, copy = own_store.folder, tmp_path / "copy"
    subprocess.run(["cp", "-r", str(original), str(copy)], check=True)  # unlike cp -a
    own_store.folder = copy
    own_store.start()
    client.close()
    assert {client.get(name).status for name in names} == {503}
    assert not list(copy.glob("*/quarantined/objects/*"))
    assert own_store.log.count("device taken out of service") >= 4
    assert own_store.stop() == 0
    for file in original.glob("*/objects/*/*/*/*"):
        os.setxattr(copy / file.relative_to(original), ATTRIBUTE, os.getxattr(file, ATTRIBUTE))
    own_store.start()
    client.close()
    wait_until(lambda: {client.get(name).status for name in names} == {200}, "the devices are in service again")


def test_another_shape_is_refused(own_store: Store) -> None:
    own_store.options = ["--workers", "1", "--devices", "3", "--replicas", "2"]
    own_store.start()
    own_store.stop()
    own_store.options = ["--workers", "1", "--devices", "5"]
    with pytest.raises(AssertionError, match="--devices 3, not 5"):
        own_store.start()
    own_store.options = ["--workers", "1"]
    own_store.start()


def test_one_instance_per_folder(own_store: Store) -> None:
    own_store.start()
    second = Store(Path(own_store.folder), ["--workers", "1"])
    second.port = free_port()
    with pytest.raises(AssertionError, match="another objstore up"):
        second.start()
