"""How the servers of a cluster know each other: each connection begins with a handshake over a key that all have.

    client    HELLO / HTTP/1.1        X-Backend-Nonce: C
    server    HTTP/1.1 200 OK         X-Backend-Nonce: S, X-Backend-Proof: HMAC-SHA256(key, "server" C S)
    client    PROVE / HTTP/1.1        X-Backend-Proof: HMAC-SHA256(key, "client" C S)

C and S are drawn at random for this connection alone, so a proof that was recorded proves nothing on another one; a
proof names who makes it, so none can be sent back to its maker. Nothing answers PROVE unless it is wrong: the first
request follows at once. From then on the connection is trusted, and a request costs nothing more.

It keeps strangers out. It does not keep those from listening, or from taking a connection over, who sit between two
servers: that takes TLS (`objstore.cluster_tls.py`).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from objstore.cluster import Cluster
from objstore.cluster_tls import ClusterTls
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.messages import HEALTHCHECK, Environ, variable_of

KEY_PURPOSE: Final = "handshake"
HELLO: Final = "HELLO"
PROVE: Final = "PROVE"
NONCE_BYTES: Final = 16
_NONCE: Final = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")
_NONCE_VARIABLE: Final = variable_of(Backend.NONCE)
_PROOF_VARIABLE: Final = variable_of(Backend.PROOF)


@dataclass(frozen=True)
class Handshake:
    """What both sides need to know.

    Where it is not `required`, servers answer also who does not greet, and clients ask also who cannot be greeted: an
    earlier release.
    """

    key: bytes
    required: bool = True
    tls: ClusterTls | None = None

    @classmethod
    def of(cls, cluster: Cluster) -> Handshake:
        """That of the servers of a cluster, whose key comes from its secrets. Raises ConfigError for bad TLS files."""
        tls = None if cluster.tls.mode == "off" else ClusterTls(cluster.tls)
        return cls(cluster.hasher.derived_key(KEY_PURPOSE), cluster.handshake_required, tls)

    def proof(self, side: str, client_nonce: str, server_nonce: str) -> str:
        return hmac.digest(self.key, f"{side}\n{client_nonce}\n{server_nonce}".encode(), "sha256").hex()


class Greeting:
    """The client's side of one handshake."""

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self.required: Final = handshake.required
        self.nonce: Final = secrets.token_hex(NONCE_BYTES)

    def hello(self, host: str) -> bytes:
        """What opens a connection to a server."""
        return f"{HELLO} / HTTP/1.1\r\nHost: {host}\r\n{Backend.NONCE}: {self.nonce}\r\n\r\n".encode("latin-1")

    def prove(self, host: str, status: int, headers: Mapping[str, str]) -> bytes:
        """What follows the server's answer. Raises ValueError if that does not prove that the server knows the key."""
        nonce, proof = headers.get(Backend.NONCE, ""), headers.get(Backend.PROOF, "")
        expected = self._handshake.proof("server", self.nonce, nonce)
        if status != 200 or not _NONCE.fullmatch(nonce) or not hmac.compare_digest(expected, _ascii(proof)):
            raise ValueError("the server does not prove that it belongs to the cluster")
        proof = self._handshake.proof("client", self.nonce, nonce)
        return f"{PROVE} / HTTP/1.1\r\nHost: {host}\r\n{Backend.PROOF}: {proof}\r\n\r\n".encode("latin-1")


class Reception:
    """The server's side of one handshake; until `trusted` is true, a connection is a stranger's."""

    __slots__ = ("_expected", "_handshake", "is_encrypted", "trusted")

    def __init__(self, handshake: Handshake) -> None:
        self._handshake = handshake
        self._expected = ""  # the proof that must come next
        self.is_encrypted = False
        self.trusted = False

    def receive(self, environ: Environ) -> dict[str, str] | None:
        """Look at a request on a connection that is not trusted yet; the headers of the answer to a greeting.

        None: it is to be served, if it is no step of the handshake. Raises HttpError 400, 403.
        """
        method, handshake = environ["REQUEST_METHOD"], self._handshake
        lacks_tls = handshake.tls is not None and handshake.tls.required and not self.is_encrypted
        if lacks_tls and (environ["PATH_INFO"] != HEALTHCHECK or method in (HELLO, PROVE)):
            raise HttpError(403, "Servers of this cluster are asked over TLS")
        if method == HELLO:
            client_nonce = environ.get(_NONCE_VARIABLE, "")
            if not _NONCE.fullmatch(client_nonce) or "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
                raise HttpError(400, "Malformed greeting")
            nonce = secrets.token_hex(NONCE_BYTES)
            self._expected = handshake.proof("client", client_nonce, nonce)
            return {Backend.NONCE: nonce, Backend.PROOF: handshake.proof("server", client_nonce, nonce)}
        if method == PROVE:
            expected, self._expected = self._expected, ""
            if not expected or not hmac.compare_digest(expected, _ascii(environ.get(_PROOF_VARIABLE, ""))):
                raise HttpError(403, "The proof is wrong: is it the objstore.toml of this cluster?")
            self.trusted = True
            return None
        if handshake.required and environ["PATH_INFO"] != HEALTHCHECK:
            raise HttpError(403, "Only servers of the cluster are answered here")
        return None


def _ascii(text: str) -> str:
    """compare_digest takes no other text."""
    return text if text.isascii() else ""
