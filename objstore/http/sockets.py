"""Connections: green, buffered, with a timeout on every wait; plain or TLS."""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Any, Final

from objstore.http.bodies import ClientDisconnected, ClientTimeout
from objstore.http.chunked import BadFraming
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout

RECEIVE_SIZE: Final = 65536
SEND_TIMEOUT_SECONDS: Final = 60.0
PIPE_BYTES: Final = 1 << 20
# What receiving raises when there is nothing to receive.
NOTHING_YET: Final = (BlockingIOError, ssl.SSLWantReadError)
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection:
    """A TCP connection of one greenlet at a time.

    `left` and `stalled` make the errors raised when the peer closes or is silent in mid-message; this class stands on
    the serving side, where the peer is a client.
    """

    __slots__ = ("_buffer", "_descriptor", "peer", "sock")

    def __init__(self, sock: socket.socket, peer: tuple[Any, ...]) -> None:
        self.sock = sock
        self.peer = peer
        self._buffer = b""
        self._descriptor = sock.fileno()
        sock.setblocking(False)
        concurrency.register(self._descriptor)

    def left(self) -> Exception:
        """The error for a peer that closed in mid-message."""
        return ClientDisconnected()

    def stalled(self) -> Exception:
        """The error for a peer that sent nothing for too long."""
        return ClientTimeout()

    def malformed(self, error: BadFraming) -> Exception:
        """The error for a peer whose chunks are malformed."""
        return error

    @property
    def buffered(self) -> bool:
        """Whether bytes are at hand that nobody has asked for yet."""
        return bool(self._buffer)

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor."""
        return self._descriptor

    @property
    def splices(self) -> bool:
        """Whether the kernel may move bytes without us (no TLS in between)."""
        return True

    def push_back(self, rest: bytes) -> None:
        """Put bytes back that belong to the next message."""
        self._buffer = rest + self._buffer if self._buffer else rest

    def receive(self, size: int, timeout_seconds: float) -> bytes:
        """What is there, at most `size` bytes; b"" when the peer has closed. Raises the error of `stalled`."""
        part = self.receive_some(size, timeout_seconds)
        if part is None:
            raise self.stalled()
        return part

    def receive_some(self, size: int, seconds: float) -> bytes | None:
        """What is there, at most `size` bytes; b"" when the peer has closed, None when nothing comes for `seconds`."""
        if self._buffer:
            part, self._buffer = self._buffer[:size], self._buffer[size:]
            return part
        while True:
            try:
                return self.sock.recv(min(size, RECEIVE_SIZE))
            except BlockingIOError:
                pass
            except OSError:
                return b""
            try:
                concurrency.wait_readable(self._descriptor, seconds)
            except WaitTimeout:
                return None

    def receive_some_into(self, buffer: memoryview, seconds: float) -> int | None:
        """As `receive_some`, but into a buffer: how many bytes have come."""
        if self._buffer:
            part = self._buffer[: len(buffer)]
            self._buffer = self._buffer[len(part) :]
            buffer[: len(part)] = part
            return len(part)
        while True:
            try:
                return self.sock.recv_into(buffer)
            except BlockingIOError:
                pass
            except OSError:
                return 0
            try:
                concurrency.wait_readable(self._descriptor, seconds)
            except WaitTimeout:
                return None

    def send(self, content: bytes | memoryview, timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> None:
        """Send all of it. Raises the error of `left` or `stalled`."""
        try:
            sent = self.sock.send(content)
        except BlockingIOError:
            sent = 0
        except OSError:
            raise self.left() from None
        if sent < len(content):
            self._send_rest(memoryview(content)[sent:], timeout_seconds)

    def _send_rest(self, rest: memoryview, timeout_seconds: float) -> None:
        while rest:
            # Edges are reported once: only after a refusal is there one to wait for.
            try:
                rest = rest[self.sock.send(rest) :]
            except BlockingIOError:
                self._wait_writable(timeout_seconds)
            except OSError:
                raise self.left() from None

    def _wait_writable(self, timeout_seconds: float) -> None:
        try:
            concurrency.wait_writable(self._descriptor, timeout_seconds)
        except WaitTimeout:
            raise self.stalled() from None

    def send_parts(self, parts: Sequence[bytes | memoryview], timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> None:
        """Send several pieces, in one call if the send buffer takes them."""
        try:
            sent = self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:
            raise self.left() from None
        for part in parts:
            if sent < len(part):
                self._send_rest(memoryview(part)[sent:], timeout_seconds)
                sent = 0
            else:
                sent -= len(part)

    def send_continue(self) -> None:
        """Tell a client that waits with its body to go on (RFC 9110, section 10.1.1)."""
        self.send(CONTINUE)

    def peek(self, timeout_seconds: float, size: int = 1) -> bytes:
        """What has come first, still to be received; b"" when the peer has closed. Raises WaitTimeout."""
        while True:
            try:
                return self.sock.recv(size, socket.MSG_PEEK)
            except BlockingIOError:
                concurrency.wait_readable(self._descriptor, timeout_seconds)
            except OSError:
                return b""

    def peer_has_closed(self) -> bool:
        """Whether the peer has closed, or sent something unasked; looks without waiting."""
        if self._buffer:
            return True
        try:
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK)  # below TLS, which cannot peek
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def release(self) -> socket.socket:
        """The socket, for another connection in place of this one; nothing of it has been received."""
        concurrency.unregister(self._descriptor)
        self._descriptor = -1
        return self.sock

    def close(self) -> None:
        if self._descriptor >= 0:
            concurrency.unregister(self._descriptor)
            self._descriptor = -1
            self.sock.close()

    def shutdown_sending(self) -> None:
        """Tell the peer that nothing more comes."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def splice_from(self, source: Connection, size: int, timeout_seconds: float, source_timeout_seconds: float) -> int:
        """Move up to `size` bytes from another plain connection to this one inside the kernel; returns how many.

        Fewer than `size` only when the source has closed, or is silent for too long. Both buffers must be empty.
        """
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _widen(writer)
        moved = 0
        try:
            while moved < size:
                try:
                    count = os.splice(source.descriptor, writer, min(size - moved, PIPE_BYTES))
                except BlockingIOError:
                    try:
                        concurrency.wait_readable(source.descriptor, source_timeout_seconds)
                    except WaitTimeout:
                        break
                    continue
                except OSError:
                    break
                if count == 0:
                    break
                self._splice_out(reader, count, timeout_seconds)
                moved += count
        finally:
            os.close(reader)
            os.close(writer)
        return moved

    def _splice_out(self, reader: int, count: int, timeout_seconds: float) -> None:
        while count:
            try:
                count -= os.splice(reader, self._descriptor, count)
            except BlockingIOError:
                self._wait_writable(timeout_seconds)
            except OSError:
                raise self.left() from None


def _widen(pipe: int) -> None:
    """Let a pipe hold PIPE_BYTES, if the system still allows its user that much."""
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        pass


class OverTls(Connection):
    """What a connection does otherwise over TLS."""

    __slots__ = ()
    sock: ssl.SSLSocket

    @property
    def splices(self) -> bool:
        """Never: the bytes must be encrypted."""
        return False

    def handshake(self, timeout_seconds: float) -> None:
        """Agree on keys; raises OSError (ssl.SSLError) or WaitTimeout."""
        self._retry(self.sock.do_handshake, timeout_seconds)

    def _retry(self, call: Any, timeout_seconds: float, *arguments: Any) -> Any:
        """Call until TLS has what it needs from, or can give to, the socket below. Raises WaitTimeout.

        The pieces of a record that come in between do not prolong the wait.
        """
        deadline = 0.0
        while True:
            try:
                return call(*arguments)
            except (ssl.SSLWantReadError, BlockingIOError):  # the latter once `shutdown_sending` has ended TLS
                wait = concurrency.wait_readable
            except ssl.SSLWantWriteError:
                wait = concurrency.wait_writable
            now = concurrency.monotonic()
            deadline = deadline or now + timeout_seconds
            wait(self._descriptor, max(0.0, deadline - now))

    def receive_some(self, size: int, seconds: float) -> bytes | None:
        if self._buffer:
            return super().receive_some(size, seconds)
        try:
            received: bytes = self._retry(self.sock.recv, seconds, min(size, RECEIVE_SIZE))
        except WaitTimeout:
            return None
        except OSError:
            return b""
        return received

    def receive_some_into(self, buffer: memoryview, seconds: float) -> int | None:
        if self._buffer:
            return super().receive_some_into(buffer, seconds)
        try:
            count: int = self._retry(self.sock.recv_into, seconds, buffer)
        except WaitTimeout:
            return None
        except OSError:
            return 0
        return count

    def send(self, content: bytes | memoryview, timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> None:
        rest = memoryview(content)
        while rest:
            try:
                rest = rest[self._retry(self.sock.send, timeout_seconds, rest) :]
            except WaitTimeout:
                raise self.stalled() from None
            except OSError:
                raise self.left() from None

    def send_parts(self, parts: Sequence[bytes | memoryview], timeout_seconds: float = SEND_TIMEOUT_SECONDS) -> None:
        """One TLS record after the other."""
        for part in parts:
            self.send(part, timeout_seconds)


class TlsConnection(OverTls):
    """A connection over TLS on the serving side."""

    __slots__ = ()
