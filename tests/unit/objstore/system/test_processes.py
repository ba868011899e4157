"""The hub in a process of its own: forks, and what connections cost."""

import subprocess
import sys

FORK = """
import os, socket
from objstore.system import concurrency
from objstore.system.concurrency import Event, call_soon_from_thread, current_hub, spawn
from objstore.system.flush import Flusher
from objstore.system.threads import ThreadGroup

threads, flusher = ThreadGroup(1), Flusher()
with open("/dev/shm/objstore-fork-%d" % os.getpid(), "wb") as file:
    os.unlink(file.name)
    near, far = socket.socketpair()
    near.setblocking(False)
    concurrency.register(near.fileno())
    event = Event()
    waiting = spawn(event.wait)
    concurrency.sleep(0.001)
    threads.call(int)
    flusher.flush(file.fileno())
    before = len(os.listdir("/proc/self/fd"))
    child = os.fork()
    if child == 0:
        concurrency.run_hub_in_child()
        assert len(os.listdir("/proc/self/fd")) == before - 2
        concurrency.sleep(0.001)
        assert threads.call(sum, [1, 2]) == 3
        flusher.flush(file.fileno())
        assert spawn(int).wait(1) == 0
        os._exit(7)
    assert os.waitpid(child, 0)[1] == 7 << 8
    call_soon_from_thread(current_hub(), event.set, 5)
    assert waiting.wait(1) == 5
    far.send(b"x")
    concurrency.wait_readable(near.fileno(), 1)
    assert threads.call(int) == 0
print("fine")
"""


def test_after_a_fork_both_processes_go_on() -> None:
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=30)
    assert (result.stdout, result.stderr) == ("fine\n", "")


IDLE = """
import os, socket
from objstore.http.server import HttpServer, ServerOptions
from objstore.system import concurrency

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def application(environ, start_response):
    start_response("200 OK", [])
    return (b"ok",)

server = HttpServer(application, [], ServerOptions(), print)
clients = []
def connect(count):
    for _ in range(count):
        here, there = socket.socketpair()
        server.adopt(there, ("test", 0))
        here.send(b"GET / HTTP/1.1\\r\\nX: " + b"x" * 7000 + b"\\r\\n\\r\\n")
        clients.append(here)
    for _ in range(3):
        concurrency.sleep(0.001)
    for client in clients[-count:]:
        answer = client.recv(100)
        assert answer.startswith(b"HTTP/1.1 200"), answer
connect(100)
before = memory()
connect(400)
print((memory() - before) // 400)
"""


def test_an_idle_connection_takes_little_memory() -> None:
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", IDLE], capture_output=True, text=True, timeout=30)
    assert result.stderr == ""
    assert int(result.stdout) < 16384
