"""A disk that hangs: requests for other disks go on, its own are taken over, nothing acknowledged is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.servers import Store
from tests.waiting import wait_until

HUNG = "d2"
CLIENTS = 8
OBJECTS = 60
# By then every request that was caught by the disk has timed out, and whoever asked knows that it hangs.
NOTICED_SECONDS = 14.0
SERVED_SECONDS = 3.0  # generous for a machine that runs other tests as well: nobody waits for the disk any more


class HungDisk:
    """One of the four devices of a store, on a filesystem of its own."""

    def __init__(self, store: Store, folder: Path, flag: Path) -> None:
        self.store = store
        self.folder = folder
        self._flag = flag

    def hang(self) -> None:
        """From now on its calls do not return."""
        self._flag.touch()

    def answer(self) -> None:
        """They return."""
        self._flag.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HungDisk]:
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    if elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        elsewhere.rmdir()
        pytest.skip("a second filesystem is needed")
    store = Store(tmp_path / "data", ["--workers", "1", "--devices", "4"])
    library, flag = tmp_path / "hang.so", tmp_path / "hangs"
    source = Path(__file__).with_name("hang.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    store.start()  # it makes its folders
    store.stop()
    device = store.folder / HUNG
    shutil.move(str(device), elsewhere / HUNG)
    device.symlink_to(elsewhere / HUNG)
    for name, value in (("LD_PRELOAD", library), ("HANG_FOLDER", elsewhere), ("HANG_FLAG", flag)):
        monkeypatch.setenv(name, str(value))
    # Files are opened by the name that the server knows: that of the link.
    monkeypatch.setenv("HANG_FOLDER", str(device))
    store.start()
    monkeypatch.undo()
    made = HungDisk(store, elsewhere / HUNG, flag)
    yield made
    made.answer()
    store.stop()
    shutil.rmtree(elsewhere)


def again(client: Client) -> Client:
    """The same user on a connection of its own."""
    return Client(client.host, client.port, account=client.account, token=client.token)


def timed_put(client: Client, path: str, body: bytes) -> tuple[int, float]:
    began = time.monotonic()
    status = again(client).put(path, body).status
    return status, time.monotonic() - began


def timed_get(client: Client, path: str, body: bytes) -> tuple[bool, float]:
    began = time.monotonic()
    answer = again(client).get(path)
    return (answer.status, answer.body) == (200, body), time.monotonic() - began


def test_the_other_disks_go_on(disk: HungDisk) -> None:
    host, port = disk.store.host, disk.store.port
    client = Client.login(host, port)
    assert client.put("c").status == 201
    bodies = {f"c/before-{number}": os.urandom(1000 + number) for number in range(OBJECTS)}
    with ThreadPoolExecutor(CLIENTS) as pool:
        assert {status for status, _ in pool.map(lambda item: timed_put(client, *item), bodies.items())} == {201}

        disk.hang()
        hung_at = time.monotonic()
        while time.monotonic() < hung_at + NOTICED_SECONDS:
            reads = list(pool.map(lambda item: timed_get(client, *item), bodies.items()))
            assert all(whole for whole, _ in reads)
            assert max(seconds for _, seconds in reads) < NOTICED_SECONDS
        new = {f"c/while-{number}": os.urandom(1000 + number) for number in range(OBJECTS)}
        writes = list(pool.map(lambda item: timed_put(client, *item), new.items()))
        assert {status for status, _ in writes} == {201}
        bodies |= new
        reads = list(pool.map(lambda item: timed_get(client, *item), bodies.items()))
        assert all(whole for whole, _ in reads)
        assert max(seconds for _, seconds in (*writes, *reads)) < SERVED_SECONDS

        disk.answer()
        wait_until(lambda: _is_used(disk, client), "the disk is used again", 90.0)
        assert all(whole for whole, _ in pool.map(lambda item: timed_get(client, *item), bodies.items()))
    assert {row["name"] for row in client.rows("c")} == {path.partition("/")[2] for path in bodies}


def _is_used(disk: HungDisk, client: Client) -> bool:
    """Whether new objects get to the disk."""
    before = {*disk.folder.rglob("*.data")}
    for number in range(8):
        client.put(f"c/before-{number}", client.get(f"c/before-{number}").body)
    return bool({*disk.folder.rglob("*.data")} - before)
