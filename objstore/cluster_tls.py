"""TLS between the servers of a cluster: each has a certificate, and takes only those of the cluster's authority.

A connection is encrypted and both ends are proven before the handshake of `objstore/http/handshake.py`, which stays: a
certificate says which machine this is, the handshake that it may ask.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from objstore.config.cluster import ClusterTlsConfig
from objstore.config.loading import ConfigError
from objstore.errors import reason_of
from objstore.system import concurrency

# How TLS begins a record with a handshake in it; no HTTP request begins so.
FIRST_BYTE: Final = b"\x16"
CHECK_SECONDS: Final = 10.0


class ClusterTls:
    """The contexts of both sides. Files that are replaced are read again: a certificate is renewed while servers run.

    used: connections to servers are encrypted. required: servers take no others, but for health.
    """

    def __init__(self, config: ClusterTlsConfig, now: Callable[[], float] = concurrency.monotonic) -> None:
        """Reads the files. Raises ConfigError, which names the one that cannot be used."""
        self.used: Final = config.mode in ("use", "require")
        self.required: Final = config.mode == "require"
        self._config = config
        self._now = now
        self._contexts = _Contexts(config)
        self._checked = now()

    @property
    def server(self) -> ssl.SSLContext:
        """For connections that servers take."""
        return self._current().server

    @property
    def client(self) -> ssl.SSLContext:
        """For connections to servers; checks their addresses, too."""
        return self._current().client

    def _current(self) -> _Contexts:
        """While the files do not fit, as when one of them is written already and another is not, the last that did."""
        now = self._now()
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            if _marks(self._config) != self._contexts.marks:
                with suppress(ConfigError):
                    self._contexts = _Contexts(self._config)
        return self._contexts


class _Contexts:
    """Those of the files as they are now. Raises ConfigError."""

    def __init__(self, config: ClusterTlsConfig) -> None:
        self.marks = _marks(config)
        self.server = _context(config, ssl.PROTOCOL_TLS_SERVER)
        self.server.verify_mode = ssl.CERT_REQUIRED
        self.server.num_tickets = 0  # connections are kept, so nobody resumes one
        self.client = _context(config, ssl.PROTOCOL_TLS_CLIENT)


def _marks(config: ClusterTlsConfig) -> list[tuple[int, int]]:
    """What changes when a file does; (0, 0) for one that is not there."""
    marks = []
    for path in (config.authority, config.certificate, config.key):
        try:
            found = os.stat(path)
            marks.append((found.st_mtime_ns, found.st_ino))
        except OSError:
            marks.append((0, 0))
    return marks


def _context(config: ClusterTlsConfig, protocol: ssl._SSLMethod) -> ssl.SSLContext:
    for path in (config.authority, config.certificate, config.key):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(path, 0, "", f"a file of [tls] cannot be read: {reason_of(error)}") from error
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(config.authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(config.authority, 0, "", f"this is no certificate in PEM: {error}") from error
    try:
        # A key that is sealed with a password is refused: nobody is there to type it.
        context.load_cert_chain(config.certificate, config.key, password="")
    except (OSError, ssl.SSLError) as error:
        reason = f"the certificate and its key {config.key} cannot be used: {error}"
        raise ConfigError(config.certificate, 0, "", reason) from error
    return context
