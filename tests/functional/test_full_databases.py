"""Databases on a filesystem without a block left: 507, nothing half-written, and all goes on once there is room."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from objstore.rows import ObjectRow
from tests.unit.objstore.db.harness import Servers, at

ROWS = 200


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(made.device)], capture_output=True)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode().strip()}")
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", str(made.device)], check=True)


def rows(second: int) -> list[ObjectRow]:
    return [ObjectRow(f"{second}-{number:04d}", at(second), 1, "text/plain", "e" * 32) for number in range(ROWS)]


def use_all(path: Path) -> None:
    with path.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                if size == 1:
                    raise


def listed(servers: Servers) -> tuple[set[str], int]:
    """The second of each row that the container lists, and how many it counts."""
    names = [row["name"] for row in servers.listed("limit=10000")]
    seconds = {name.partition("-")[0] for name in names}
    assert all(sum(name.startswith(f"{second}-") for name in names) == ROWS for second in seconds)
    return seconds, int(servers.to_container("HEAD").headers["X-Container-Object-Count"])


def test_a_full_disk_refuses_rows_whole_and_takes_them_afterwards(servers: Servers) -> None:
    assert servers.to_container("PUT").status == 201
    assert servers.update(rows(1)).status == 202
    ballast = servers.device / "ballast"
    taken, second = {"1"}, 1
    use_all(ballast)
    while second < 100:
        second += 1
        status = servers.update(rows(second)).status
        if status == 507:
            break
        assert status == 202  # what the log has room for is taken
        taken.add(str(second))
    assert status == 507
    assert servers.to_container("PUT", path="/sda/9/a/other").status == 507
    assert listed(servers) == (taken, ROWS * len(taken))

    ballast.unlink()
    assert servers.to_container("HEAD", path="/sda/9/a/other").status == 404
    assert servers.update(rows(second)).status == 202
    assert servers.to_container("PUT", path="/sda/9/a/other").status == 201
    assert listed(servers) == ({*taken, str(second)}, ROWS * (len(taken) + 1))
    assert not [path for path in servers.device.rglob("*") if path.name.endswith(".tmp")]
    (path,) = (path for path in servers.device.rglob("*.db") if "/5/" in str(path))
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
