"""Calls on real threads, and flushes."""

import gc
import os
import threading
import time
import weakref
from pathlib import Path

import pytest

from objstore.system import concurrency, flush
from objstore.system import threads as threads_module
from objstore.system.concurrency import Task, WaitTimeout, spawn
from objstore.system.flush import Flusher
from objstore.system.threads import ThreadGroup
from tests.waiting import elapse, elapse_in_hub, wait_in_hub


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
        elapse(0.002, "blocks its own thread, which is what the threads are for")
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
    elapse_in_hub(0.001, "the thread has begun")
    task.kill()
    elapse_in_hub(0.001, "the caller ends")
    gate.set()
    assert threads.call(int) == 0


def test_an_idle_thread_keeps_nothing_alive() -> None:
    class Large:
        pass

    threads = ThreadGroup(1)
    argument = Large()
    alive = [weakref.ref(argument), weakref.ref(threads.call(lambda given: Large(), argument))]
    del argument
    wait_in_hub(lambda: gc.collect() is None or not any(reference() for reference in alive), "nothing is kept")


def test_a_call_that_hangs_fails_its_caller_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "CALL_TIMEOUT_SECONDS", 0.005)
    gate = threading.Event()
    threads = ThreadGroup(2)
    with pytest.raises(WaitTimeout):
        threads.call(gate.wait, 5)
    assert threads.call(int) == 0
    gate.set()


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
        elapse_in_hub(0.002, "all wait for the flush")
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
    wait_in_hub(lambda: len(os.listdir("/proc/self/fd")) == before, "descriptors of killed callers are closed")
    os.close(descriptor)
