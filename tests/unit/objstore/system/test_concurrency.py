"""Greenlets: waiting, waking, killing, and never missing a wake-up."""

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from objstore.system import concurrency
from objstore.system.concurrency import Event, Queue, Semaphore, Task, WaitTimeout, call_soon_from_thread, spawn
from objstore.system.hub import GreenletExit

Pair = tuple[socket.socket, socket.socket]
Check = Callable[[], bool]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two connected sockets, registered."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
        concurrency.register(end.fileno())
    yield ends
    for end in ends:
        concurrency.unregister(end.fileno())
        end.close()


def rounds(count: int = 5) -> None:
    """Let everybody run."""
    for _ in range(count):
        concurrency.sleep()


def waiting() -> set[object]:
    """All that waits with a deadline or for a descriptor."""
    hub = concurrency.current_hub()
    return {*hub.deadlines, *(c for c in hub.channels.values() if c.reader is not None or c.writer is not None)}


@pytest.fixture
def nothing_left() -> Check:
    """Whether nothing waits but what other tests of this process, such as those of servers, have left waiting."""
    before = waiting()
    return lambda: waiting() <= before


def test_tasks_return_and_raise() -> None:
    task = spawn(lambda a, b: a + b, 1, 2)
    assert not task.dead
    assert (task.wait(), task.wait(), task.dead) == (3, 3, True)
    with pytest.raises(FileNotFoundError):
        spawn(os.stat, "/no such file").wait()
    endless = spawn(concurrency.sleep, 600)
    with pytest.raises(WaitTimeout, match="timed out"):
        endless.wait(0.001)
    endless.kill()


def test_a_bug_in_a_task_nobody_waits_for_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    spawn(lambda: 1 // 0)
    rounds()
    assert "ZeroDivisionError" in capsys.readouterr().err
    spawn(os.stat, "/no such file")
    rounds()
    assert capsys.readouterr().err == ""


def test_events() -> None:
    event: Event[int] = Event()
    waiting = [spawn(event.wait) for _ in range(3)]
    with pytest.raises(WaitTimeout):
        event.wait(0.001)
    event.set(5)
    event.set(6)
    event.fail(OSError())
    assert [task.wait() for task in waiting] == [5, 5, 5]
    assert event.wait() == 5
    failed: Event[int] = Event()
    task = spawn(failed.wait)
    rounds()
    failed.fail(OSError("no"))
    failed.set(1)
    for wait in (task.wait, failed.wait):
        with pytest.raises(OSError, match="no"):
            wait()
    assert event._waiters == failed._waiters == []


def test_semaphores_hand_over_in_order() -> None:
    semaphore = Semaphore(1)
    order: list[int] = []

    def work(number: int) -> None:
        with semaphore:
            order.append(number)
            concurrency.sleep()

    tasks = [spawn(work, number) for number in range(5)]
    for task in tasks:
        task.wait()
    assert order == [0, 1, 2, 3, 4]
    assert (semaphore._free, len(semaphore._waiters)) == (1, 0)


def test_a_place_is_never_lost_to_timeouts_and_kills(nothing_left: Check) -> None:
    generator = random.Random(7)
    semaphore = Semaphore(2)
    held = 0

    def work() -> None:
        nonlocal held
        semaphore.acquire(generator.choice([None, 0.001, 0.002]))
        try:
            held += 1
            assert held <= 2
            concurrency.sleep(generator.choice([0, 0, 0.001]))
        finally:
            held -= 1
            semaphore.release()

    tasks: list[Task[None]] = []
    for _ in range(400):
        tasks.append(spawn(work))
        if generator.random() < 0.5:
            generator.choice(tasks).kill()
        if generator.random() < 0.3:
            concurrency.sleep()
    for task in tasks:
        try:
            task.wait(5)
        except (WaitTimeout, GreenletExit):
            assert task.dead
    assert (semaphore._free, len(semaphore._waiters), held) == (2, 0, 0)
    assert nothing_left()


def test_a_place_handed_to_the_killed_goes_on() -> None:
    semaphore = Semaphore(0)
    first, second = spawn(semaphore.acquire), spawn(semaphore.acquire)
    rounds()
    first.kill()
    semaphore.release()  # handed to the first, which is killed before it can take it
    second.wait(1)
    assert semaphore._free == 0


def test_queues() -> None:
    queue: Queue[int] = Queue(2)
    with pytest.raises(WaitTimeout):
        queue.get(0.001)

    def produce() -> None:
        for number in range(10):
            queue.put(number)

    producing = spawn(produce)
    rounds()
    assert len(queue) == 2
    with pytest.raises(WaitTimeout):
        queue.put(99, 0.001)
    assert [queue.get() for _ in range(10)] == list(range(10))
    producing.wait()
    killed = spawn(queue.get)
    rounds()
    killed.kill()
    rounds()
    queue.put(1)
    assert queue.get(0.1) == 1


def wait_writable_thrice(descriptor: int) -> None:
    """It is writable at first, which is said at most twice."""
    for _ in range(3):
        concurrency.wait_writable(descriptor, 1)


WAITS: dict[str, Callable[[Pair], Any]] = {
    "event": lambda pair: Event[None]().wait(1),
    "semaphore": lambda pair: Semaphore(0).acquire(1),
    "queue": lambda pair: Queue[int](1).get(1),
    "sleep": lambda pair: concurrency.sleep(1),
    "readable": lambda pair: concurrency.wait_readable(pair[0].fileno(), 1),
    "writable": lambda pair: wait_writable_thrice(pair[0].fileno()),
    "any": lambda pair: concurrency.wait_any_readable([end.fileno() for end in pair], [Event[None]()], 1),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_the_killed_leave_nothing_registered(pair: Pair, wait: Callable[[Pair], Any], nothing_left: Check) -> None:
    task = spawn(wait, pair)
    rounds()
    task.kill()
    task.kill()
    rounds()
    task.kill()
    with pytest.raises(GreenletExit):
        task.wait()
    assert nothing_left()


def test_killing_before_the_start_and_after_waking() -> None:
    ran: list[int] = []
    event: Event[None] = Event()

    def work(number: int) -> None:
        event.wait()
        ran.append(number)

    early = spawn(work, 1)
    early.kill()
    woken = spawn(work, 2)
    rounds()
    woken.kill()
    event.set()
    rounds()
    assert early.dead
    assert woken.dead
    assert ran == []


def test_a_killed_greenlet_may_wait_while_it_cleans_up() -> None:
    cleaned = []

    def work() -> None:
        try:
            concurrency.sleep(1)
        finally:
            concurrency.sleep(0.001)
            cleaned.append(True)

    task = spawn(work)
    rounds()
    task.kill()
    with pytest.raises(GreenletExit):
        task.wait()
    assert cleaned == [True]


def test_descriptors(pair: Pair) -> None:
    near, far = pair
    with pytest.raises(WaitTimeout):
        concurrency.wait_readable(near.fileno(), 0.001)
    far.send(b"x")
    concurrency.wait_readable(near.fileno(), 1)
    near.recv(10)
    spawn(far.send, b"y")
    concurrency.wait_readable(near.fileno(), 1)
    concurrency.wait_writable(near.fileno(), 1)
    far.shutdown(socket.SHUT_WR)
    concurrency.wait_readable(near.fileno(), 1)


def test_unregistering_ends_the_wait(pair: Pair, nothing_left: Check) -> None:
    near, _ = pair
    waiting = spawn(concurrency.wait_readable, near.fileno(), 5)
    rounds()
    concurrency.unregister(near.fileno())
    with pytest.raises(ConnectionAbortedError):
        waiting.wait(1)
    concurrency.unregister(near.fileno())
    assert nothing_left()


def test_waiting_for_any(pair: Pair, nothing_left: Check) -> None:
    near, far = pair
    event: Event[None] = Event()
    watched = [near.fileno()]
    concurrency.wait_any_readable(watched, [event], 0.001)
    assert event._waiters == []
    far.send(b"x")
    concurrency.wait_any_readable(watched, [event], 5)
    assert near.recv(10) == b"x"
    concurrency.call_soon(far.send, b"y")
    concurrency.wait_any_readable(watched, [event], 5)
    assert near.recv(10) == b"y"
    concurrency.call_later(0.001, event.set)
    concurrency.wait_any_readable(watched, [event], 5)
    concurrency.wait_any_readable(watched, [event], 5)
    assert event.is_set
    assert nothing_left()


def test_no_wake_up_is_lost(nothing_left: Check) -> None:
    """Many pairs, random sizes, both directions at once; readers wait in two ways."""
    generator = random.Random(3)
    ends = [socket.socketpair() for _ in range(20)]
    total = 200_000

    def send(sock: socket.socket) -> None:
        left = total
        while left:
            try:
                left -= sock.send(b"x" * min(left, generator.randint(1, 40000)))
            except BlockingIOError:
                concurrency.wait_writable(sock.fileno(), 5)

    def receive(sock: socket.socket) -> int:
        got = 0
        while got < total:
            try:
                got += len(sock.recv(generator.randint(1, 30000)))
            except BlockingIOError:
                if generator.random() < 0.5:
                    concurrency.wait_readable(sock.fileno(), 5)
                else:
                    concurrency.wait_any_readable([sock.fileno()], [], 5)
            if generator.random() < 0.1:
                concurrency.sleep()
        return got

    tasks: list[Task[Any]] = []
    for near, far in ends:
        for sock in (near, far):
            sock.setblocking(False)
            concurrency.register(sock.fileno())
            tasks += (spawn(send, sock), spawn(receive, sock))
    for task in tasks:
        task.wait(20)
    for near, far in ends:
        for sock in (near, far):
            concurrency.unregister(sock.fileno())
            sock.close()
    assert nothing_left()


def test_no_call_from_a_thread_is_lost() -> None:
    hub = concurrency.current_hub()
    calls = 3000
    count = 0
    done: Event[None] = Event()

    def called() -> None:
        nonlocal count
        count += 1
        if count == 4 * calls:
            done.set()

    def call() -> None:
        for _ in range(calls):
            call_soon_from_thread(hub, called)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    done.wait(20)
    for thread in threads:
        thread.join()


def test_a_call_that_comes_while_others_are_taken_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = concurrency.current_hub()
    late: Event[None] = Event()
    read = os.eventfd_read

    def read_while_another_calls(descriptor: int) -> int:
        monkeypatch.undo()
        call_soon_from_thread(hub, lambda: None)
        value = read(descriptor)
        return value

    monkeypatch.setattr(os, "eventfd_read", read_while_another_calls)
    call_soon_from_thread(hub, lambda: None)
    rounds()
    thread = threading.Thread(target=call_soon_from_thread, args=(hub, late.set))
    thread.start()
    late.wait(1)
    thread.join()


def test_a_callback_that_fails_harms_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    done: Event[None] = Event()
    concurrency.call_soon(lambda: 1 // 0)
    concurrency.call_soon(done.set)
    done.wait(1)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_callback_must_not_wait(capsys: pytest.CaptureFixture[str]) -> None:
    concurrency.call_soon(concurrency.sleep, 0.001)
    rounds()
    assert "must not wait" in capsys.readouterr().err


def test_deadlines_and_timers(nothing_left: Check) -> None:
    start = concurrency.monotonic()
    cancelled: list[int] = []
    concurrency.call_later(0.001, cancelled.append, 1)()
    events = [Event[None]() for _ in range(50)]
    tasks = [spawn(event.wait, 0.001 * number) for number, event in enumerate(events)]
    for task in tasks:
        with pytest.raises(WaitTimeout):
            task.wait(5)
    assert 0.045 <= concurrency.monotonic() - start < 5
    assert cancelled == []
    assert nothing_left()
