"""The master and its workers, in a process of their own."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from objstore.system.workers import ConnectionBalance, listen
from tests.waiting import elapse, wait_until

MASTER = """
import os, sys
from objstore.http.server import HttpServer, ServerOptions
from objstore.system.workers import ConnectionBalance, Master, listen
from objstore.system import concurrency

listener = listen("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)

def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        concurrency.sleep(0.3)
    if environ["PATH_INFO"] == "/slower":
        concurrency.sleep(1.0)
    if environ["PATH_INFO"] == "/die":
        os._exit(3)
    start_response("200 OK", [])
    return (b"%d %d" % (os.getpid(), generation),)

generation = 0

def reload():
    global generation
    generation += 1
    if generation == 3:
        raise ValueError("bad configuration")

def report(message, error):
    print(message, repr(error), file=sys.stderr, flush=True)

balance = ConnectionBalance()

def start(index):
    return [HttpServer(application, [listener], ServerOptions(), report, balance)]

Master(start, 2, report, balance, reload, drain_seconds=5.0, stop_seconds=0.7).run()
print("ended", flush=True)
"""


class Running:
    """A master."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", MASTER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        self.get()  # the master attends to signals by now

    def get(self, path: str = "/") -> tuple[int, int]:
        """Which worker answers, and of which generation; (0, 0) for no answer."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
            answer = b""
            while part := sock.recv(65536):
                answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            return 0, 0
        worker, generation = body.split()
        return int(worker), int(generation)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[str, str]:
        """End it; what it said."""
        self.process.send_signal(number)
        return self.process.communicate(timeout=10)


@pytest.fixture
def master() -> Iterator[Running]:
    """A master with two workers."""
    running = Running()
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_slow_request_is_finished(master: Running, number: signal.Signals) -> None:
    answers: list[tuple[int, int]] = []
    asking = threading.Thread(target=lambda: answers.append(master.get("/slow")))
    asking.start()
    elapse(0.1, "the request, which takes three times as long, has begun")
    assert master.stop(number) == ("ended\n", "")
    asking.join()
    assert answers[0][0] > 0
    assert master.process.returncode == 0


@pytest.mark.parametrize(("number", "finished"), [(signal.SIGHUP, True), (signal.SIGTERM, False)])
def test_a_request_has_other_times_after_a_reload_than_after_a_stop(
    master: Running, number: signal.Signals, finished: bool
) -> None:
    answers: list[tuple[int, int]] = []
    asking = threading.Thread(target=lambda: answers.append(master.get("/slower")))
    asking.start()
    elapse(0.1, "the request, which takes longer than a stop waits, has begun")
    master.process.send_signal(number)
    asking.join()
    assert (answers[0] != (0, 0)) is finished
    assert master.stop() == ("ended\n", "")


def test_a_dead_worker_is_replaced(master: Running) -> None:
    seen = {master.get()[0]}
    assert master.get("/die") == (0, 0)
    victim = seen.pop()
    try:
        os.kill(victim, signal.SIGKILL)
    except ProcessLookupError:
        pass
    wait_until(lambda: len({master.get()[0] for _ in range(20)} - {victim, 0}) == 2)
    assert master.stop() == ("ended\n", "")


def test_replacing_all_fails_no_request(master: Running) -> None:
    stop = threading.Event()
    answers: list[tuple[int, int]] = []

    def ask() -> None:
        while not stop.is_set():
            answers.append(master.get())

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for generation in (1, 2):
        master.process.send_signal(signal.SIGHUP)
        wait_until(lambda generation=generation: answers[-1:] != [] and answers[-1][1] == generation)  # type: ignore[misc]
    master.process.send_signal(signal.SIGHUP)  # whose configuration is bad: the workers stay
    elapse(0.1, "a worker that ended would be seen")
    stop.set()
    for thread in threads:
        thread.join()
    assert (0, 0) not in answers
    assert answers[-1][1] == 2
    output, errors = master.stop()
    assert output == "ended\n"
    assert "bad configuration" in errors


def test_the_worker_with_the_fewest_connections_takes_the_next() -> None:
    balance = ConnectionBalance()
    balance.join(0)
    balance.changed(4)
    assert balance.may_accept(4)
    balance._counts[1] = 3
    assert not balance.may_accept(4)
    balance.leave(1)
    assert balance.may_accept(4)
    balance.changed(2)
    assert balance._counts[0] == 2


def test_listening() -> None:
    with listen("::1", 0) as sock:
        assert sock.family == socket.AF_INET6
    with listen("127.0.0.1", 0) as sock, pytest.raises(OSError):
        listen("127.0.0.1", sock.getsockname()[1])
