"""A real server on a thread that answers as a test wrote down, and notes what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from objstore.client.requests import HttpClient


@dataclass
class Asked:
    """One request as it arrived; `body` without the framing of chunks."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


def response(status: int, body: bytes = b"", length: int | None = None, **headers: object) -> bytes:
    """A response; `length` is what it announces if that is not the truth."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


Answering = Callable[[Asked], bytes | None]


@dataclass
class ScriptedServer:
    """Answers each request with the next entry of `script`: bytes; None closes without an answer; or a function."""

    script: list[bytes | Answering | None] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    close_after_each: bool = False

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._opened: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        for each in (self._listener, *self._opened):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._opened.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while first := stream.readline():
                    method, target, _ = first.decode().split(" ", 2)
                    headers = {}
                    while (line := stream.readline()) not in (b"\r\n", b""):
                        name, _, value = line.decode().partition(":")
                        headers[name.lower()] = value.strip()
                    asked = Asked(method, target, headers)
                    if headers.get("transfer-encoding") == "chunked":
                        while size := int(stream.readline(), 16):
                            asked.body += stream.read(size)
                            stream.readline()
                        stream.readline()
                    else:
                        asked.body = stream.read(int(headers.get("content-length", 0)))
                    self.asked.append(asked)
                    entry = self.script.pop(0)
                    answer = entry(asked) if callable(entry) else entry
                    if answer is None:
                        return
                    connection.sendall(answer)
                    announced = b"Content-Length: " + str(len(answer.partition(b"\r\n\r\n")[2])).encode()
                    if self.close_after_each or (method != "HEAD" and announced not in answer):
                        return
        except (OSError, ValueError):
            return  # the client gave up


@contextmanager
def serving(*script: bytes | Answering | None, close_after_each: bool = False) -> Iterator[ScriptedServer]:
    """A server with this script."""
    server = ScriptedServer(list(script), close_after_each=close_after_each)
    try:
        yield server
    finally:
        server.close()


_clients: list[HttpClient] = []


def closed_later(client: HttpClient) -> HttpClient:
    """The client, whose connections the end of the test closes."""
    _clients.append(client)
    return client


def close_clients() -> None:
    """Close what `closed_later` was given."""
    while _clients:
        _clients.pop().pool.close()
