"""Filesystems without a block or an inode left: deletions work, all else goes elsewhere, nothing is half-written."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.functional.test_faults import ATTRIBUTE, BELIEVED, BELIEVED_SECONDS, Faulty
from tests.waiting import elapse, wait_until

NODE = 4
LONG = "a-name-of-some-length-" * 6  # such metadata has no place in an inode


@pytest.fixture
def full(tmp_path: Path) -> Iterator[tuple[Faulty, Path]]:
    """A cluster of its own; the device of node 4 is an ext4 of 24 MiB, of which nothing is kept for root."""
    faulty = Faulty(tmp_path / "cluster")
    device = faulty.folder / f"node{NODE}" / "devices" / "d1"
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(24 * 1024 * 1024)
    kept = device.with_name("kept")
    device.rename(kept)
    device.mkdir()
    done = subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", "512", str(image)], capture_output=True)
    if done.returncode == 0:
        done = subprocess.run(["mount", "-o", "loop", str(image), str(device)], capture_output=True)
    try:
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
        elapse(BELIEVED_SECONDS, BELIEVED)
        yield faulty, device
    finally:
        faulty.cluster.run("stop")
        subprocess.run(["umount", "-l", str(device)], capture_output=True)


def use_all_bytes(folder: Path) -> None:
    for size in (1024 * 1024, 4096):
        number = len(list(folder.iterdir()))
        with (folder / str(number)).open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while file.write(b"x" * size) == size:
                pass
            raise OSError("No space left")


def use_all_inodes(folder: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        for number in range(len(list(folder.iterdir())), 10_000):
            (folder / str(number)).touch()


def data_files(device: Path) -> list[Path]:
    return sorted((device / "objects").rglob("*.data"))


def wait_until_deleted(device: Path, hashes: set[Path], again: Callable[[], object] = lambda: None) -> None:
    """Two servers of three suffice for an answer; `again` is done now and then until the third one has heard, too."""
    begins = time.monotonic()

    def is_deleted() -> bool:
        if time.monotonic() > begins + 2.0:
            again()
        return not any(path.parent in hashes for path in data_files(device))

    wait_until(is_deleted, "the third server's deletion", 10.0)
    for directory in hashes:
        (path,) = directory.iterdir()
        assert (path.suffix, path.stat().st_size) == (".ts", 0)


def stored_on(device: Path, name: str) -> set[Path]:
    """The directory of an object, if it has one on the device."""
    return {path.parent for path in data_files(device) if os.getxattr(path, ATTRIBUTE).find(f'/{name}"'.encode()) > 0}


@pytest.mark.parametrize("use_all", [use_all_bytes, use_all_inodes])
def test_nothing_is_left_on_a_device(full: tuple[Faulty, Path], use_all: Callable[[Path], None]) -> None:
    faulty, device = full
    client = faulty.client(NODE)
    names = [f"before/{LONG}-{number}" for number in range(12)]
    for container in ("before", *(f"another-{number}" for number in range(4))):  # of which some are on the device
        assert client.put(container).status == 201
    for name in names:
        assert faulty.put(client, name, b"x" * 50_000) == 201
    places = {name: stored_on(device, name) for name in names}
    here = [name for name in names if places[name]]
    assert len(here) >= 4
    ballast = device / "ballast"
    ballast.mkdir()

    # Deletions are told to a device that is full.
    use_all(ballast)
    for name in here[:2]:
        delete(faulty, name)
        # A machine that is busy may have had the proxy believe that the node is down.
        wait_until_deleted(device, places[name], again=partial(client.delete, name))

    # A write is refused there and goes elsewhere. It is told of deletions; one that is not replicators bring.
    use_all(ballast)
    elapse(BELIEVED_SECONDS, BELIEVED)
    before = data_files(device)
    assert client.put("meanwhile").status == 201
    for number in range(6):
        assert faulty.put(client, f"meanwhile/{LONG}-{number}", b"y" * 50_000) == 201
    assert data_files(device) == before
    for name in faulty.contents:
        assert client.get(name).status == 200
    for name in here[2:]:
        delete(faulty, name)
    faulty.once(("object", "replicator"))
    wait_until_deleted(device, set().union(*(places[name] for name in here)))

    # A crash undoes nothing, and once there is room, all is whole.
    killed = [faulty.process_id(NODE, service) for service in ("object", "container", "account")]
    for service in ("object", "container", "account"):
        faulty.signal(NODE, service, signal.SIGKILL)
    wait_until(lambda: not any(map(is_running, killed)), "the servers are gone")
    for path in ballast.iterdir():
        path.unlink()
    faulty.cluster.start_servers(NODE)
    wait_until_deleted(device, set().union(*(places[name] for name in here)))
    faulty.heal()
    faulty.check()
    for name in here:
        assert client.get(name).status == 404
    databases = sorted(device.rglob("*.db"))
    assert databases
    for path in databases:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def is_running(process: int | None) -> bool:
    return process is not None and Path(f"/proc/{process}/fd").exists()


def delete(faulty: Faulty, name: str) -> None:
    assert faulty.client(NODE).delete(name).status == 204
    del faulty.contents[name]
    assert faulty.client(NODE).get(name).status == 404
