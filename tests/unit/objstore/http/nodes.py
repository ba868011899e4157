"""A storage server to talk to, and ways to reach it."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from objstore.devices import Device
from objstore.http.client import HttpTransport
from objstore.http.local import LocalTransport
from objstore.http.messages import WsgiApplication
from objstore.http.server import HttpServer, ServerOptions
from objstore.http.transport import BackendRequest, Transport
from objstore.paths import ResourcePath
from objstore.system import concurrency
from objstore.system.workers import listen


def node_at(sock: socket.socket) -> Device:
    """The device served at a listening socket's address."""
    address, port = sock.getsockname()[:2]
    return Device(0, 1, 1, address, port, address, port, "sda", 1.0)


def request(
    node: Device, method: str = "GET", headers: Mapping[str, str] | None = None, name: str = "o", query: str = ""
) -> BackendRequest:
    """A request to that node."""
    return BackendRequest(method, node, 7, ResourcePath("a", "c", name), headers or {}, query)


@contextmanager
def over_the_network(application: WsgiApplication) -> Iterator[tuple[Transport, Device]]:
    """The application behind a port."""
    listener = listen("127.0.0.1", 0)
    reports: list[tuple[str, BaseException]] = []
    server = HttpServer(application, [listener], ServerOptions(), lambda *report: reports.append(report))
    task = concurrency.spawn(server.serve)
    try:
        transport = HttpTransport()
        yield transport, node_at(listener)
        transport.close()
    finally:
        server.drain(0.01)
        task.wait()
        listener.close()


@contextmanager
def in_process(application: WsgiApplication) -> Iterator[tuple[Transport, Device]]:
    """The application called."""
    yield LocalTransport(lambda request: application), Device(0, 1, 1, "127.0.0.1", 1, "", 0, "sda", 1.0)


class Script:
    """The other side of a connection, byte by byte: accepts connections and lets a test play the server."""

    def __init__(self) -> None:
        self.listener = listen("127.0.0.1", 0)
        self.listener.settimeout(5)
        self.node = node_at(self.listener)

    def accept(self) -> socket.socket:
        """The next connection. The kernel has finished it already, so this does not keep the hub waiting."""
        sock, _ = self.listener.accept()
        sock.settimeout(5)
        return sock
