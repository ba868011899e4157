"""Network Block Devices over UNIX sockets: a server of read-only exports, and a client that reads.

Source: the protocol's description, doc/proto.md of the NBD project; fixed newstyle handshake, simple replies.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol, Self

from objstore.compute.host.driver import MachineError
from objstore.errors import reason_of

MAGIC: Final = b"NBDMAGIC"
OPTION_MAGIC: Final = b"IHAVEOPT"
OPTION_REPLY_MAGIC: Final = 0x3E889045565A9
REQUEST_MAGIC: Final = 0x25609513
REPLY_MAGIC: Final = 0x67446698
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
EXPORT_NAME, ABORT, INFO, GO = 1, 2, 6, 7
ACKNOWLEDGED, INFORMATION = 1, 3
UNSUPPORTED, UNKNOWN, INVALID = (1 << 31) + 1, (1 << 31) + 6, (1 << 31) + 3
INFO_EXPORT: Final = 0
HAS_FLAGS, READ_ONLY, MULTIPLE_CONNECTIONS = 1, 2, 1 << 8
READ, DISCONNECT, FLUSH = 0, 2, 3
EPERM, EIO, EINVAL = 1, 5, 22
READ_BYTES_MAX: Final = 32 * 1024 * 1024
OPTION_BYTES_MAX: Final = 4096
OPTIONS_MAX: Final = 64
CONNECTIONS_MAX: Final = 4096
HANDSHAKE_SECONDS: Final = 10.0
OPTION: Final = struct.Struct(">8sII")
REQUEST: Final = struct.Struct(">IHHQQI")
REPLY: Final = struct.Struct(">IIQ")


class Export(Protocol):
    """What a client may read."""

    size: int

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes, which lie inside. Raises StoreError, OSError."""
        ...


def _receive(connection: socket.socket, count: int) -> bytes:
    pieces = bytearray()
    while len(pieces) < count:
        piece = connection.recv(min(count - len(pieces), 1 << 20))
        if not piece:
            raise ConnectionError("it has closed")
        pieces += piece
    return bytes(pieces)


class NbdServer:
    """Serves exports, which `find` knows by name, at a UNIX socket; one thread for each connection.

    The socket is replaced if it is there: the server that made it has ended.
    """

    def __init__(self, path: str, find: Callable[[str], Export]) -> None:
        """`find` raises StoreError for a name that is none. Raises OSError."""
        self.path = path
        self._find = find
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(path)
        os.chmod(path, 0o600)
        self._listener.listen(128)
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        threading.Thread(target=self._accept, name="nbd", daemon=True).start()

    def close(self) -> None:
        """Accept nobody any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="nbd client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(HANDSHAKE_SECONDS)
            export = self._agree(connection)
            if export is not None:
                connection.settimeout(None)  # a machine may not read for months
                self._transmit(connection, export)
        except OSError:
            pass
        finally:
            connection.close()
            self._room.release()

    def _agree(self, connection: socket.socket) -> Export | None:
        """The export that the client chooses."""
        connection.sendall(MAGIC + OPTION_MAGIC + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES))
        (client_flags,) = struct.unpack(">I", _receive(connection, 4))
        for _ in range(OPTIONS_MAX):
            magic, option, length = OPTION.unpack(_receive(connection, OPTION.size))
            if magic != OPTION_MAGIC or length > OPTION_BYTES_MAX:
                return None
            data = _receive(connection, length)
            if option == EXPORT_NAME:
                export = self._named(data)
                if export is not None:
                    zeroes = b"" if client_flags & NO_ZEROES else bytes(124)
                    connection.sendall(_export_facts(export) + zeroes)
                return export
            if option == ABORT:
                _reply(connection, option, ACKNOWLEDGED)
                return None
            if option in (INFO, GO):
                export = self._chosen(connection, option, data)
                if export is not None and option == GO:
                    return export
            else:
                _reply(connection, option, UNSUPPORTED)
        return None

    def _chosen(self, connection: socket.socket, option: int, data: bytes) -> Export | None:
        length = int.from_bytes(data[:4], "big")
        if len(data) < 6 or 4 + length > len(data):
            _reply(connection, option, INVALID)
            return None
        export = self._named(data[4 : 4 + length])
        if export is None:
            _reply(connection, option, UNKNOWN)
            return None
        _reply(connection, option, INFORMATION, struct.pack(">H", INFO_EXPORT) + _export_facts(export))
        _reply(connection, option, ACKNOWLEDGED)
        return export

    def _named(self, name: bytes) -> Export | None:
        try:
            return self._find(name.decode())
        except (MachineError, UnicodeDecodeError):
            return None

    def _transmit(self, connection: socket.socket, export: Export) -> None:
        while True:
            magic, _, kind, cookie, offset, length = REQUEST.unpack(_receive(connection, REQUEST.size))
            if magic != REQUEST_MAGIC or kind == DISCONNECT:
                return
            error, content = 0, b""
            if kind == READ:
                if length > READ_BYTES_MAX or offset + length > export.size:
                    error = EINVAL
                else:
                    try:
                        content = export.read(offset, length)
                    except (MachineError, OSError):
                        error = EIO
            elif kind != FLUSH:
                error = EPERM
                if kind == 1:  # a write brings its content
                    return
            connection.sendall(REPLY.pack(REPLY_MAGIC, error, cookie) + content)


def _export_facts(export: Export) -> bytes:
    return struct.pack(">QH", export.size, HAS_FLAGS | READ_ONLY | MULTIPLE_CONNECTIONS)


def _reply(connection: socket.socket, option: int, kind: int, data: bytes = b"") -> None:
    connection.sendall(struct.pack(">QIII", OPTION_REPLY_MAGIC, option, kind, len(data)) + data)


class NbdClient:
    """Reads one export. A context manager. Every method raises MachineError."""

    def __init__(self, path: str, name: str, seconds: float = 60.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(seconds)
        try:
            self._socket.connect(path)
            if _receive(self._socket, 18)[:16] != MAGIC + OPTION_MAGIC:
                raise MachineError("no NBD server")
            encoded = name.encode()
            self._socket.sendall(
                struct.pack(">I", FIXED_NEWSTYLE | NO_ZEROES)
                + OPTION.pack(OPTION_MAGIC, EXPORT_NAME, len(encoded))
                + encoded
            )
            self.size, _ = struct.unpack(">QH", _receive(self._socket, 10))
        except OSError as error:
            self._socket.close()
            raise MachineError(f"the disk's server: {reason_of(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def read(self, offset: int, length: int) -> bytes:
        """Exactly so many bytes."""
        try:
            self._socket.sendall(REQUEST.pack(REQUEST_MAGIC, 0, READ, 1, offset, length))
            magic, error, _ = REPLY.unpack(_receive(self._socket, REPLY.size))
            if magic != REPLY_MAGIC or error:
                raise MachineError(f"the disk cannot be read at {offset}: error {error}")
            return _receive(self._socket, length)
        except OSError as failure:
            raise MachineError(f"the disk's server: {reason_of(failure)}") from failure
