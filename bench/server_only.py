"""Requests a second on one core: our HTTP server against eventlet's, with an application that does nothing.

python -m objstore.bench.server_only [SECONDS]
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from objstore.bench.endpoint import ProcessTree
from objstore.http.server import HttpServer, ServerOptions
from objstore.system.concurrency import green_socket
from objstore.system.workers import listen, run_servers

CONNECTIONS: Final = 16
BODY: Final = b"x" * 100


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answers everything with 100 bytes."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))])
    return (BODY,)


def serve_ours() -> None:
    listener = listen("127.0.0.1", 0)
    print(listener.getsockname()[1], flush=True)

    def report(message: str, error: BaseException) -> None:
        print(message, repr(error), file=sys.stderr)

    run_servers([HttpServer(application, [listener], ServerOptions(), report)], (signal.SIGTERM,), 1.0)


def serve_eventlet() -> None:
    import importlib

    wsgi = importlib.import_module("eventlet.wsgi")
    listener = green_socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], flush=True)
    wsgi.server(listener, application, log_output=False, keepalive=True)


SERVERS: Final = {"objstore": serve_ours, "eventlet.wsgi": serve_eventlet}


def measure(name: str, seconds: int) -> tuple[float, float]:
    """Requests a second, and processor time of the server for each in microseconds."""
    command = [sys.executable, "-m", "objstore.bench.server_only", "--serve", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        url = f"http://127.0.0.1:{port}/"
        wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", url]
        subprocess.run([*wrk, "-d1s"], check=True, capture_output=True)
        processes = ProcessTree([server.pid])
        before = processes.processor_seconds()
        done = subprocess.run([*wrk, f"-d{seconds}s"], check=True, capture_output=True, text=True).stdout
        used = processes.processor_seconds() - before
        server.kill()
    found = re.search(r"(\d+) requests in", done)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done)
    assert found and rate, done
    return float(rate[1]), used / int(found[1]) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=int, nargs="?", default=10)
    parser.add_argument("--serve", choices=sorted(SERVERS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve is not None:
        SERVERS[chosen.serve]()
        return
    rates = {}
    for name in SERVERS:
        rates[name], cost = measure(name, chosen.seconds)
        print(f"{name:<14} {rates[name]:9.0f} req/s   {cost:6.1f} us of processor time each", flush=True)
        time.sleep(1)
    print(f"ratio          {rates['objstore'] / rates['eventlet.wsgi']:9.1f}")


if __name__ == "__main__":
    main()
