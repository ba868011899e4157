"""Calls on real threads."""

import gc
import threading
import weakref

import pytest

from objstore.system import concurrency
from objstore.system import threads as threads_module
from objstore.system.concurrency import WaitTimeout, spawn
from objstore.system.threads import ThreadGroup
from tests.waiting import elapse, elapse_in_hub, wait_in_hub


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
