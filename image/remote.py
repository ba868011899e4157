"""Downloads images from elsewhere, without becoming a way into the networks that the service itself can reach.

The address of every hop is looked up once, judged, and connected to; the name is never looked up a second time.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final
from urllib.parse import urljoin, urlsplit

from objstore.errors import StoreError, reason_of

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX: Final = 5
URI_MAX: Final = 4096
TIMEOUT_SECONDS: Final = 30.0
PIECE_BYTES: Final = 256 * 1024
PORTS: Final = {"http": 80, "https": 443}

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(eq=False)
class RemoteRefused(StoreError):
    """A URI that is not downloaded from. The reason names no address, or callers could explore a network with it."""

    message: ClassVar[str] = "The URI is not accepted: {reason}"

    reason: str


@dataclass(eq=False)
class RemoteFailed(StoreError):
    """A download that did not succeed."""

    message: ClassVar[str] = "The download failed: {reason}"

    reason: str


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True)
class RemotePolicy:
    """From where images may be downloaded: public addresses, and the networks that the operator trusts."""

    ports: tuple[int, ...] = (80, 443)
    trusted_networks: tuple[IpNetwork, ...] = ()
    resolve: Callable[[str, int], list[str]] = field(default=resolved)

    def check_uri(self, uri: str) -> tuple[str, str, int]:
        """The scheme, host and port. Raises RemoteRefused; looks nothing up."""
        try:
            parts = urlsplit(uri)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise RemoteRefused(f"it is malformed: {error}") from error
        if len(uri) > URI_MAX or not uri.isascii() or not uri.isprintable() or " " in uri:
            raise RemoteRefused("it is too long, or has characters that no URI has")
        if parts.scheme not in PORTS or not host:
            raise RemoteRefused("it needs the scheme http or https, and a host")
        if parts.username is not None or parts.password is not None:
            raise RemoteRefused("it may not hold a user or password")
        port = port or PORTS[parts.scheme]
        if port not in self.ports:
            raise RemoteRefused(f"port {port} is not one of {', '.join(map(str, self.ports))}")
        return parts.scheme, host, port

    def addresses(self, host: str, port: int) -> list[str]:
        """Where a host is. Raises RemoteRefused if any of its addresses is not public: one of them would be tried."""
        try:
            found = self.resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise RemoteFailed("the host's address is not known") from error
        if not found or not all(self._accepts(text) for text in found):
            raise RemoteRefused("its host is not at a public address")
        return found

    def _accepts(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        inner = embedded(address)
        if any(inner in network for network in self.trusted_networks if network.version == inner.version):
            return True
        return inner.is_global and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified)


def embedded(address: IpAddress) -> IpAddress:
    """The IPv4 address that packets to an IPv6 address end at, where there is one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    teredo = address.teredo
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


class RemoteFile:
    """The body of a GET, redirects followed. Raises RemoteRefused, RemoteFailed, also while it is read."""

    def __init__(self, uri: str, policy: RemotePolicy) -> None:
        for _ in range(REDIRECTS_MAX + 1):
            self._connection, self._response = _get(uri, policy)
            if self._response.status not in REDIRECTS:
                break
            location = self._response.getheader("Location") or ""
            self.close()
            if uri.startswith("https:") and urlsplit(urljoin(uri, location)).scheme != "https":
                raise RemoteRefused("it leads from https to something else")
            uri = urljoin(uri, location)
        if self._response.status != 200:
            status = self._response.status
            self.close()
            raise RemoteFailed(f"the server answered {status}")
        self.length: int | None = self._response.length

    def __enter__(self) -> RemoteFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._response.close()
        self._connection.close()

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := self._response.read(PIECE_BYTES):
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise RemoteFailed(reason_of(error)) from error
        if self._response.length:
            raise RemoteFailed(f"the body ended {self._response.length} bytes early")


def _get(uri: str, policy: RemotePolicy) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    scheme, host, port = policy.check_uri(uri)
    address = policy.addresses(host, port)[0]
    parts = urlsplit(uri)
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    try:
        plain = socket.create_connection((address, port), timeout=TIMEOUT_SECONDS)
        connection.sock = plain
        if scheme == "https":
            connection.sock = ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        default = port == PORTS[scheme]
        name = f"[{host}]" if ":" in host else host
        headers: dict[str, Any] = {"Host": name if default else f"{name}:{port}", "Accept-Encoding": "identity"}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=headers)
        return connection, connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise RemoteFailed(reason_of(error)) from error
