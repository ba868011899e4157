"""Calls on real threads, and flushes."""

import gc
import os
import threading
import time
import weakref
from pathlib import Path

import pytest

from objstore.system import concurrency, flush
from objstore.system.concurrency import Task, spawn
from objstore.system.flush import Flusher
from objstore.system.threads import ThreadGroup


def settle_task(task: Task[None]) -> BaseException | None:
    """What it raised."""
    try:
        task.wait(5)
    except BaseException as error:
        return error
    return None


def test_results_and_errors() -> None:
    threads = ThreadGroup(2)
    assert threads.call(divmod, 7, 2) == (3, 1)
    for error in (KeyError, SystemExit, StopIteration):

        def fail(kind: type[BaseException] = error) -> None:
            raise kind("no")

        with pytest.raises(error):
            threads.call(fail)
    assert threads.call(threading.get_ident) != threading.get_ident()


def test_the_others_run_meanwhile_and_no_more_than_the_threads() -> None:
    threads = ThreadGroup(3)
    running = most = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)  # blocks its own thread, which is what the threads are for
        with lock:
            running -= 1

    tasks = [spawn(threads.call, work) for _ in range(20)]
    concurrency.sleep()
    assert not any(task.dead for task in tasks)
    for task in tasks:
        task.wait(5)
    assert most <= 3


def test_a_killed_caller_harms_nobody() -> None:
    threads = ThreadGroup(1)
    gate = threading.Event()
    task = spawn(threads.call, gate.wait, 5)
    concurrency.sleep(0.001)
    task.kill()
    concurrency.sleep(0.001)
    gate.set()
    assert threads.call(int) == 0


def test_an_idle_thread_keeps_nothing_alive() -> None:
    class Large:
        pass

    threads = ThreadGroup(1)
    argument = Large()
    alive = [weakref.ref(argument), weakref.ref(threads.call(lambda given: Large(), argument))]
    del argument
    concurrency.sleep(0.002)
    gc.collect()
    assert [reference() for reference in alive] == [None, None]


@pytest.fixture
def descriptor(tmp_path: Path) -> int:
    """An open file, left to the test to close."""
    return os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)


def test_a_flush_begins_after_the_call(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[float] = []
    real_fsync, real_syncfs = os.fsync, flush._syncfs

    def recorded_fsync(given: int) -> None:
        begun.append(time.monotonic())
        real_fsync(given)

    def recorded_syncfs(given: int) -> None:
        begun.append(time.monotonic())
        real_syncfs(given)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(flush, "_syncfs", recorded_syncfs)
    flusher = Flusher()

    def work() -> None:
        for _ in range(5):
            called = time.monotonic()
            flusher.flush(descriptor)
            assert any(called <= moment <= time.monotonic() for moment in begun)

    for error in [settle_task(task) for task in [spawn(work) for _ in range(20)]]:
        assert error is None
    os.close(descriptor)
    assert len(begun) < 100


def test_an_error_reaches_all_who_waited_and_none_after(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    flusher = Flusher()

    def fail(given: int) -> None:
        gate.wait(5)
        raise OSError(5, "injected")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        patched.setattr(flush, "_syncfs", fail)
        tasks = [spawn(flusher.flush, descriptor) for _ in range(10)]
        concurrency.sleep(0.002)
        gate.set()
        errors = [settle_task(task) for task in tasks]
    assert all(isinstance(error, OSError) and error.errno == 5 for error in errors)
    flusher.flush(descriptor)
    os.close(descriptor)


def test_a_killed_waiter_and_its_closed_file_harm_nobody(descriptor: int, tmp_path: Path) -> None:
    flusher = Flusher()
    flusher.flush(descriptor)
    before = len(os.listdir("/proc/self/fd"))

    def work() -> None:
        own = os.open(tmp_path, os.O_RDONLY)
        try:
            flusher.flush(own)
        finally:
            os.close(own)

    tasks = [spawn(work) for _ in range(10)]
    concurrency.sleep()
    for task in tasks[::2]:
        task.kill()
    for task in tasks[1::2]:
        assert settle_task(task) is None
    flusher.flush(descriptor)
    concurrency.sleep(0.002)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(descriptor)


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs", ""])
def test_only_a_journal_that_commits_in_order_spares_a_commit(
    descriptor: int, monkeypatch: pytest.MonkeyPatch, filesystem: str
) -> None:
    committed: list[int] = []
    monkeypatch.setattr(flush, "filesystem_type", lambda _: filesystem)
    monkeypatch.setattr(os, "fsync", committed.append)
    Flusher().write_out(descriptor)
    assert bool(committed) == (filesystem not in ("ext4", "xfs"))
    os.close(descriptor)


def test_a_file_is_written_when_write_out_returns(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = flush._sync_file_range

    def recorded(given: int, flags: int) -> None:
        assert given == descriptor
        asked.append(flags)
        real(given, flags)

    monkeypatch.setattr(flush, "filesystem_type", lambda _: "ext4")
    monkeypatch.setattr(flush, "_sync_file_range", recorded)
    os.write(descriptor, b"content")
    Flusher().write_out(descriptor)
    # SYNC_FILE_RANGE_WRITE begins it; WAIT_BEFORE, WRITE and WAIT_AFTER together end it.
    assert asked == [2, 7]
    os.close(descriptor)


def test_who_writes_in_vain_is_told_and_nobody_else(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
    real = flush._sync_file_range

    def fail(given: int, flags: int) -> None:
        if given == descriptor:
            raise OSError(5, "injected")
        real(given, flags)

    monkeypatch.setattr(flush, "filesystem_type", lambda _: "ext4")
    monkeypatch.setattr(flush, "_sync_file_range", fail)
    flusher = Flusher()
    tasks = [spawn(flusher.write_out, each) for each in (descriptor, other)]
    errors = [settle_task(task) for task in tasks]
    assert isinstance(errors[0], OSError) and errors[0].errno == 5
    assert errors[1] is None
    os.close(descriptor)
    os.close(other)


def test_a_file_whose_data_failed_is_found_out_in_a_round_that_went_well(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)

    def fail(given: int, flags: int) -> None:
        if given == descriptor:
            raise OSError(5, "injected")

    monkeypatch.setattr(flush, "_sync_file_range", fail)
    flusher = Flusher()
    tasks = [spawn(flusher.flush, each) for each in (other, descriptor)]
    errors = [settle_task(task) for task in tasks]
    assert all(isinstance(error, OSError) for error in errors)
    os.close(descriptor)
    os.close(other)


def test_the_type_of_a_filesystem_is_found_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
        "23 22 0:21 / /sys rw - sysfs sysfs rw\n"
        "36 22 8:17 / /srv/a\\040b rw master:1 propagate_from:2 - xfs /dev/sdb1 rw,noquota\n"
    )
    monkeypatch.setattr(flush, "MOUNTS", str(mounts))
    assert flush.filesystem_type(os.makedev(254, 0)) == "ext4"
    assert flush.filesystem_type(os.makedev(8, 17)) == "xfs"
    assert flush.filesystem_type(os.makedev(0, 21)) == "sysfs"
    assert flush.filesystem_type(os.makedev(9, 9)) == ""
