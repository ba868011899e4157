"""Responses on their way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from email.utils import formatdate
from itertools import chain
from typing import Any, Final

from objstore.http.bodies import ClientDisconnected
from objstore.http.chunked import chunk_head, last_chunk
from objstore.http.messages import Environ
from objstore.http.sockets import Connection

JOINED_BODY_MAX: Final = 32768  # bodies up to this size are copied behind their head, to leave in one call

_date: tuple[int, str] = (0, "")


def _http_date() -> str:
    """The time for the Date header, made once a second."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, formatdate(now, usegmt=True))
    return _date[1]


class ResponseWriter:
    """A response on its way out."""

    __slots__ = (
        "_bodiless",
        "_connection",
        "_head",
        "_length",
        "_old",
        "_tells_keep_alive",
        "body_sent",
        "complete",
        "keep_alive",
        "started",
    )

    def __init__(self, connection: Connection, environ: Environ, keep_alive: bool) -> None:
        self._connection = connection
        self._bodiless = environ["REQUEST_METHOD"] == "HEAD"
        self._old = environ["SERVER_PROTOCOL"] == "HTTP/1.0"
        # Clients of HTTP/1.0 must be told; one that sends a Connection header expects one in the response.
        self._tells_keep_alive = self._old or "HTTP_CONNECTION" in environ
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._length: int | None = None
        self.keep_alive = keep_alive
        self.body_sent = 0
        self.complete = False
        self.started = False

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], None]:
        """WSGI's start_response."""
        if exc_info is not None and self.started:
            raise exc_info[1].with_traceback(exc_info[2])
        self._head = (status, headers)
        return self._write

    def _write(self, content: bytes) -> None:
        raise NotImplementedError("write() of PEP 3333 is for applications older than it; return an iterable")

    def _make_head(self, bodiless: bool, whole: int | None) -> tuple[bytes, bool]:
        """The head on the wire, and whether the body goes out in chunks; `whole` is the body's length if known."""
        assert self._head is not None, "the application did not call start_response"
        status, headers = self._head
        lines = ["HTTP/1.1 ", status, "\r\n"]
        length: int | None = None
        dated = False
        expected = len(headers) + 2  # line ends, which tell whether a value smuggles one in
        for name, value in headers:
            lines += (name, ": ", value, "\r\n")
            lowered = name.lower()
            if lowered == "content-length":
                length = int(value)
            elif lowered == "date":
                dated = True
        chunked = False
        if length is None and not bodiless:
            if whole is not None:
                length = whole
                lines += ("Content-Length: ", str(whole), "\r\n")
                expected += 1
            elif self._old:
                self.keep_alive = False
            else:
                chunked = True
                lines.append("Transfer-Encoding: chunked\r\n")
                expected += 1
        self._length = length
        if not dated:
            lines += ("Date: ", _http_date(), "\r\n")
            expected += 1
        if not self.keep_alive:
            lines.append("Connection: close\r\n\r\n")
            expected += 1
        elif self._tells_keep_alive:
            lines.append("Connection: keep-alive\r\n\r\n")
            expected += 1
        else:
            lines.append("\r\n")
        text = "".join(lines)
        if text.count("\n") != expected or text.count("\r") != expected or "\0" in text:
            raise ValueError("a response header holds a control character")
        return text.encode("latin-1"), chunked

    def send_body(self, result: Iterable[bytes | memoryview]) -> None:
        if self._head is None:
            # A generator begins, and so calls start_response, when its first chunk is asked for (PEP 3333).
            chunks = iter(result)
            result = chain((next(chunks, b""),), chunks)
        status = int(self._head[0][:3]) if self._head else 0
        bodiless = self._bodiless or status in (204, 304)
        connection = self._connection
        if isinstance(result, tuple):
            content = b"".join(result)
            head, _ = self._make_head(bodiless, len(content))
            self.started = True
            if bodiless or not content:
                connection.send(head)
            elif len(content) <= JOINED_BODY_MAX:
                connection.send(head + content)
            else:
                connection.send_parts((head, content))
            self.body_sent = 0 if bodiless else len(content)
            self.complete = True
            return
        head, chunked = self._make_head(bodiless, None)
        if bodiless:
            self.started = True
            connection.send(head)
            self.complete = True
            return
        self._stream(head, result, chunked)

    def _stream(self, head: bytes, result: Iterable[bytes | memoryview], chunked: bool) -> None:
        connection = self._connection
        send_to = getattr(result, "send_to", None)
        if send_to is not None and not chunked:
            self.started = True
            connection.send(head)
            self.body_sent = send_to(connection)
        else:
            for chunk in result:
                size = len(chunk)
                if size == 0:
                    continue
                self.body_sent += size
                if self._length is not None and self.body_sent > self._length:
                    raise ValueError("the body is longer than its Content-Length")
                self.started = True
                if chunked:
                    connection.send_parts((head, chunk_head(size), chunk, b"\r\n"))
                elif head:
                    connection.send_parts((head, chunk))
                else:
                    connection.send(chunk)
                head = b""
            self._check_whole()
            self.started = True
            end = last_chunk({}) if chunked else b""
            if head or end:
                connection.send(head + end)
        self._check_whole()
        self.complete = True

    def _check_whole(self) -> None:
        if self._length is not None and self.body_sent < self._length:
            # Once something was sent it is too late for an error status: a connection cut short tells the client.
            self.keep_alive = False
            raise ClientDisconnected(reason="the body was shorter than announced")
