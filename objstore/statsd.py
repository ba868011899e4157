"""The mirror of all figures on a StatsD server."""

from __future__ import annotations

import socket


class StatsD:
    """Sends every change to a StatsD server, by UDP and without waiting; what gets lost is lost."""

    def __init__(self, host: str, port: int, prefix: str = "") -> None:
        """Raises OSError if the host is unknown."""
        self._prefix = f"{prefix}." if prefix else ""
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.setblocking(False)
        self._socket.connect(address)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()

    def send(self, name: str, labels: tuple[str, ...], value: str) -> None:
        """`value` carries its type, as in "1|c"; labels follow the name, separated by dots."""
        path = ".".join([name, *(label.replace(".", "_").replace(":", "_") for label in labels)])
        try:
            self._socket.send(f"{self._prefix}{path}:{value}".encode())
        except OSError:
            pass  # a server that is away must not harm the request
