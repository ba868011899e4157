"""Open databases: locks, where work runs, durability, corruption."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest

from objstore.db import database as database_module
from objstore.db import info as info_module
from objstore.db.connection import DatabaseBusy, DatabaseFailed
from objstore.db.database import CHECKPOINT_PAGES, WARMING_OPERATIONS, Database
from objstore.db.info import read_info
from objstore.db.location import ResourceLocation
from objstore.db.store import OPEN_DATABASES_MAX
from objstore.paths import ResourcePath
from objstore.system import concurrency, files
from objstore.system.concurrency import Event
from tests.unit.objstore.db.harness import Servers, at, row
from tests.waiting import elapse_in_hub, wait_in_hub


def location_of(servers: Servers) -> ResourceLocation:
    return servers.container.store.locate("sda", "5", ResourcePath("a", "c"))


def count(connection: sqlite3.Connection) -> int:
    return read_info(connection).row_count


def test_a_writer_waits_for_another_processes_lock(servers: Servers) -> None:
    servers.to_container("PUT")
    other = sqlite3.connect(servers.database_file(), isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    task = concurrency.spawn(servers.update, [row("o")])
    elapse_in_hub(0.02, "the writer tries several times")
    assert not task.dead
    assert servers.to_container("HEAD").status == 204  # readers do not wait
    other.execute("COMMIT")
    other.close()
    assert task.wait().status == 202


def test_a_lock_that_is_held_too_long_is_given_up(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_SECONDS", 0.02)
    servers.to_container("PUT")
    other = sqlite3.connect(servers.database_file(), isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    assert servers.update([row("o")]).status == 503
    other.close()
    assert servers.update([row("o")]).status == 202


def test_a_failed_operation_leaves_nothing(servers: Servers) -> None:
    servers.to_container("PUT")

    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE resource SET policy_index = 9")
        raise ValueError("no")

    with servers.container.store.opened(location_of(servers)) as database:
        with pytest.raises(ValueError, match="no"):
            database.write(fail)
        assert database.read(read_info).status.policy_index == 0


def test_work_moves_to_the_hub_once_the_database_is_warm(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "blocks_read", lambda: 0)  # whatever else this process reads
    servers.to_container("PUT")
    with servers.container.store.opened(location_of(servers)) as database:
        where = [database.read(lambda _: threading.current_thread()) for _ in range(WARMING_OPERATIONS + 5)]
        assert [thread is threading.main_thread() for thread in where] == [False] * WARMING_OPERATIONS + [True] * 5
        assert database.read(lambda _: threading.current_thread(), long=True) is not threading.main_thread()


def test_the_log_is_copied_back_in_time(servers: Servers) -> None:
    servers.to_container("PUT")
    log = Path(f"{servers.database_file()}-wal")
    for start in range(0, CHECKPOINT_PAGES * 2, 50):
        servers.update([row(f"{number:06}") for number in range(start, start + 50)])
        elapse_in_hub(0.001, "a checkpoint may run")
    assert log.stat().st_size < CHECKPOINT_PAGES * 3 * 4096
    assert servers.database_file().stat().st_size > 100_000


def test_all_that_was_answered_survives_whatever_is_left_of_the_log(servers: Servers, tmp_path: Path) -> None:
    """The log is cut after each byte that matters: what is found is one of the states that were committed."""
    servers.to_container("PUT")
    file = servers.database_file()
    log = Path(f"{file}-wal")
    ends = [log.stat().st_size if log.exists() else 0]
    for number in range(5):
        servers.update([row(f"{number}"), row(f"x{number}")])
        ends.append(log.stat().st_size)
    content, base = log.read_bytes(), file.read_bytes()
    for cut in sorted({*range(0, len(content), 1000), *ends, *(end - 1 for end in ends if end)}):
        wrong = bytes(byte ^ 0xFF for byte in content[cut : cut + 1])  # chance must not complete a commit
        for filler in (b"", b"\0" * 5000, wrong + os.urandom(5000)):
            copy = tmp_path / "copy.db"
            copy.write_bytes(base)
            Path(f"{copy}-wal").write_bytes(content[:cut] + filler)
            committed = sum(cut >= end for end in ends) - 1
            with sqlite3.connect(copy) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                assert count(connection) == 2 * max(committed, 0)
                assert len(connection.execute("SELECT * FROM row").fetchall()) == 2 * max(committed, 0)
            connection.close()


def test_every_write_is_flushed_before_it_is_answered(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[tuple[int, bool]] = []
    real, real_fsync = servers.runtime.flusher.flush, files.fsync_directory

    def fsync_directory(path: str) -> None:
        flushed.append((os.stat(path).st_ino, False))
        real_fsync(path)

    def flush(descriptor: int, everything: bool = False) -> None:
        flushed.append((os.fstat(descriptor).st_ino, everything))
        real(descriptor, everything)

    servers.runtime.flusher.flush = flush  # type: ignore[method-assign]
    monkeypatch.setattr(files, "fsync_directory", fsync_directory)
    servers.to_container("PUT")
    file = servers.database_file()
    # The content, the folders above, then the name itself.
    assert any(everything for _, everything in flushed[:-1])
    assert flushed[-1] == (file.parent.stat().st_ino, False)
    flushed.clear()
    servers.to_container("POST", 2, X_Container_Meta_A="1")
    servers.update([row("o")])
    servers.update([row("o")])  # it changes nothing, yet what is there may be another's that is not yet flushed
    assert flushed == [(Path(f"{file}-wal").stat().st_ino, False)] * 3


def test_a_disk_that_does_not_take_the_log_is_said_so(servers: Servers) -> None:
    servers.to_container("PUT")

    def flush(_: int, everything: bool = False) -> None:
        raise OSError(5, "flush failed")

    servers.runtime.flusher.flush = flush  # type: ignore[method-assign]
    assert servers.update([row("o")]).status == 507


@pytest.mark.parametrize("damage", [b"not a database at all" * 1000, b""])
def test_a_corrupt_database_goes_to_quarantine(servers: Servers, damage: bytes) -> None:
    servers.to_container("PUT")
    file = servers.database_file()
    file.unlink()
    file.write_bytes(damage)
    assert servers.to_container("HEAD").status == 500
    assert servers.to_container("HEAD").status == servers.to_container("PUT", 5).status == 503
    (mark,) = (servers.device / "containers_to_repair").iterdir()
    mark.unlink()
    assert servers.to_container("HEAD").status == 404
    assert (servers.device / "quarantined/containers" / file.stem / file.name).exists()
    assert any(b"quarantined" in line for line in servers.lines)
    assert servers.to_container("PUT", 5).status == 201
    servers.database_file().write_bytes(b"again")
    servers.new_container_server()
    other = servers.new_container_server()
    assert servers.call(other, "HEAD", "/sda/5/a/c").status == 500
    assert len(list((servers.device / "quarantined/containers").iterdir())) == 2


def copied_back(file: Path) -> None:
    """Put all that is in the log into the database, once no checkpoint of the server is under way."""
    connection = sqlite3.connect(file)
    wait_in_hub(lambda: not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0], "a checkpoint")
    connection.close()


def test_a_page_that_is_damaged_is_found_when_it_is_read(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.update([row(f"{number:05}") for number in range(2000)])
    file = servers.database_file()
    copied_back(file)
    content = bytearray(file.read_bytes())
    content[8 * 4096 :] = os.urandom(len(content) - 8 * 4096)
    file.unlink()
    file.write_bytes(content)
    assert servers.to_container("GET").status == 500
    assert servers.to_container("GET").status == 503


def test_a_file_that_was_replaced_or_removed_is_noticed(servers: Servers) -> None:
    servers.to_container("PUT", 1)
    servers.update([row("o")])
    file = servers.database_file()
    copy = file.with_suffix(".new")
    copied_back(file)
    with sqlite3.connect(file) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("UPDATE resource SET put_timestamp = ?", (at(77),))
    source.close()
    target.close()
    Path(f"{file}-wal").unlink(missing_ok=True)
    Path(f"{file}-shm").unlink(missing_ok=True)
    copy.rename(file)
    assert servers.to_container("HEAD").headers["X-Backend-Put-Timestamp"] == at(77)
    assert servers.update([row("p")]).status == 202
    assert [each["name"] for each in servers.listed()] == ["o", "p"]
    shutil.rmtree(file.parent)
    assert servers.to_container("HEAD").status == 404


def test_only_so_many_databases_stay_open(servers: Servers) -> None:
    paths = [f"/sda/5/a/c{number}" for number in range(OPEN_DATABASES_MAX + 5)]
    for path in paths:
        servers.to_container("PUT", path=path)
        servers.to_container("HEAD", path=path)
    opened = servers.container.store._open
    wait_in_hub(lambda: len(opened) == OPEN_DATABASES_MAX, "the others are closed")
    assert len(opened) == OPEN_DATABASES_MAX
    assert all(servers.to_container("HEAD", path=path).status == 204 for path in paths)
    assert sum(name.endswith("-wal") for name in os.listdir(servers.device)) == 0


def test_a_database_in_use_is_not_closed(servers: Servers) -> None:
    servers.to_container("PUT")
    gate: Event[None] = Event()

    def hold() -> int:
        with servers.container.store.opened(location_of(servers)) as database:
            gate.wait()
            return database.read(count)

    task = concurrency.spawn(hold)
    concurrency.sleep(0)
    for number in range(OPEN_DATABASES_MAX + 2):
        servers.to_container("PUT", path=f"/sda/5/a/c{number}")
        servers.to_container("HEAD", path=f"/sda/5/a/c{number}")
    gate.set()
    assert task.wait() == 0


def test_creation_is_all_or_nothing(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever call fails, a second attempt finds either no database or a whole one."""

    class Crash(BaseException):
        pass

    def crash(*_: object) -> None:
        raise Crash

    for module_function in ("os.link", "objstore.system.files.write_all", "objstore.system.files.make_directories"):
        with monkeypatch.context() as patch:
            patch.setattr(module_function, crash)
            with pytest.raises(Crash):
                servers.to_container("PUT")
        assert servers.to_container("HEAD").status == 404
        assert list((servers.device / "tmp").glob("*")) == []
    assert servers.to_container("PUT").status == 201


def test_two_creators_make_one_database(servers: Servers) -> None:
    other = servers.new_container_server()
    headers = {"X-Timestamp": at(1)}
    tasks = [
        concurrency.spawn(servers.call, server, "PUT", "/sda/5/a/c", headers)
        for server in (servers.container, other, servers.container)
    ]
    assert sorted(task.wait().status for task in tasks) == [201, 202, 202]


def test_errors_that_are_not_of_the_disk_pass(servers: Servers) -> None:
    servers.to_container("PUT")
    with servers.container.store.opened(location_of(servers)) as database, pytest.raises(sqlite3.OperationalError):
        database.read(lambda connection: connection.execute("SELECT nonsense FROM nowhere"))


def test_a_database_of_another_format_is_not_touched(servers: Servers) -> None:
    servers.to_container("PUT")
    file = servers.database_file()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    database = Database(str(file), file.stat().st_ino, servers.runtime, servers.runtime.threads, lambda _: None)
    with pytest.raises(DatabaseFailed, match="format 99"):
        database.read(count)
    other = servers.new_container_server()
    assert servers.call(other, "HEAD", "/sda/5/a/c").status == 507
    assert file.exists()


def test_busy_names_the_file() -> None:
    assert str(DatabaseBusy("f")) == "f is locked by another process"


def test_connections_stay_behind_at_a_fork(servers: Servers) -> None:
    servers.to_container("PUT")
    servers.to_container("HEAD")
    store = servers.container.store
    (before,) = store._open.values()
    store._owner = -1
    assert servers.to_container("HEAD").status == 204
    (after,) = store._open.values()
    assert after is not before
    assert before._idle  # not closed
    before.close()


def test_only_so_many_removals_are_remembered(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_module, "REMOVED_ITEMS_MAX", 2)
    servers.to_container("PUT", 1, X_Container_Meta_Kept="1")
    for number in range(5):
        servers.to_container("POST", 2 + number, **{f"X_Container_Meta_{number}": ""})
    with servers.container.store.opened(location_of(servers)) as database:
        names = database.read(lambda connection: connection.execute("SELECT name FROM metadata").fetchall())
    assert names == [("X-Container-Meta-3",), ("X-Container-Meta-4",), ("X-Container-Meta-Kept",)]
