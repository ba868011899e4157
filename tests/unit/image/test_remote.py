"""From where images are downloaded, and from where not."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from objstore.image.remote import RemoteFailed, RemoteFile, RemotePolicy, RemoteRefused

PUBLIC = "93.184.216.34"


def policy_at(*addresses: str, trusted: str = "") -> RemotePolicy:
    networks = (ipaddress.ip_network(trusted),) if trusted else ()
    return RemotePolicy((80, 443), networks, lambda _host, _port: list(addresses))


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "ftp://example.org/x",
        "//example.org/x",
        "http:///x",
        "http://example.org:8080/x",
        "http://example.org:port/x",
        "http://user@example.org/x",
        "http://user:secret@example.org/x",
        "http://exa mple.org/",
        "http://example.org/\r\nHost: other",
        "http://[::1/",
        "http://example.org/" + "x" * 5000,
    ],
)
def test_uris_that_are_refused(uri: str) -> None:
    with pytest.raises(RemoteRefused):
        RemotePolicy().check_uri(uri)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "no address",
    ],
)
def test_cve_2026_34881_private_addresses_are_refused(address: str) -> None:
    with pytest.raises(RemoteRefused, match="not at a public address"):
        policy_at(address).addresses("example.org", 80)
    with pytest.raises(RemoteRefused):  # one of several would be enough
        policy_at(PUBLIC, address).addresses("example.org", 80)


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_cve_2026_34881_other_spellings_of_an_address(host: str) -> None:
    """The system understands some of them; what counts is the address that comes out."""
    with pytest.raises((RemoteRefused, RemoteFailed)):
        RemotePolicy().addresses(host, 80)


def test_public_and_trusted_addresses() -> None:
    assert policy_at(PUBLIC, "2606:2800::1").addresses("example.org", 80) == [PUBLIC, "2606:2800::1"]
    assert policy_at("10.1.2.3", trusted="10.1.0.0/16").addresses("example.org", 80) == ["10.1.2.3"]
    with pytest.raises(RemoteRefused):
        policy_at("10.2.2.3", trusted="10.1.0.0/16").addresses("example.org", 80)


class Mirror(BaseHTTPRequestHandler):
    """/image is an image, /short one that ends early; any other path leads where it says."""

    def do_GET(self) -> None:
        if self.path in ("/image", "/short"):
            self.send_response(200)
            self.send_header("Content-Length", "5" if self.path == "/image" else "9")
            self.end_headers()
            self.wfile.write(b"image")
        elif self.path == "/missing":
            self.send_error(404)
        else:
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror() -> Iterator[tuple[str, RemotePolicy]]:
    """A server's address, and a policy that allows it alone."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        trusted = (ipaddress.ip_network("127.0.0.1/32"),)
        asked = {"mirror": ["127.0.0.1"], "inside": ["10.0.0.1"]}
        yield f"http://mirror:{port}", RemotePolicy((port,), trusted, lambda host, _: asked.get(host, [host]))
        server.shutdown()


def test_downloads(mirror: tuple[str, RemotePolicy]) -> None:
    url, policy = mirror
    for path in ("/image", "/to//image", f"/to/{url}/image"):
        with RemoteFile(url + path, policy) as remote:
            assert (remote.length, b"".join(remote)) == (5, b"image")
    with RemoteFile(url + "/short", policy) as remote, pytest.raises(RemoteFailed, match="4 bytes early"):
        list(remote)
    with pytest.raises(RemoteFailed, match="404"):
        RemoteFile(url + "/missing", policy)


@pytest.mark.parametrize("to", ["http://inside/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "ftp://mirror/x"])
def test_cve_2026_34881_every_redirect_is_judged(mirror: tuple[str, RemotePolicy], to: str) -> None:
    url, policy = mirror
    port = url.rpartition(":")[2]
    with pytest.raises(RemoteRefused):
        RemoteFile(f"{url}/to/{to.replace('inside', f'inside:{port}')}", policy)


def test_redirects_end(mirror: tuple[str, RemotePolicy]) -> None:
    url, policy = mirror
    with pytest.raises(RemoteFailed, match="302"):
        RemoteFile(f"{url}{'/to/' * 6}/image", policy)
