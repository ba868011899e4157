"""Connections that repeat nothing, objects whose content is foretold, and a list of all that was not as foretold."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from objstore.client.connections import ClientResponse, KeptConnections, ServerAddress, Timeouts
from objstore.client.errors import ServerUnreachable

ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True)
class ExpectedContent:
    """What an object must hold: its content follows from the seed; `meta` is its only metadata."""

    seed: str
    size: int
    meta: str = ""

    @property
    def content(self) -> bytes:
        block = hashlib.sha256(self.seed.encode()).digest() * 32
        return (block * (self.size // len(block) + 1))[: self.size]

    @cached_property
    def etag(self) -> str:
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class LoadAnswer:
    """Status, headers (by name in lower case) and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class LoadFindings:
    """What came out: requests answered, and everything that was not as it must be."""

    began: float = field(default_factory=time.monotonic)
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    stale: int = 0  # answers of what was before, put right by asking for the newest, or again
    tolerated: int = 0  # failures of connections to the proxy that was killed

    def failed(self, what: str) -> None:
        """Note a failure, with the second at which it happened."""
        self.failures.append(f"{time.monotonic() - self.began:6.2f} s  {what}")

    def tell_phase(self, phase: str) -> None:
        passed = time.monotonic() - self.began
        print(f"{passed:6.2f} s  {phase}: {self.answered} answers, {len(self.failures)} failures", flush=True)


class LoadSession:
    """Requests through one proxy, none of them ever repeated; for one thread."""

    def __init__(self, server: ServerAddress, account: str, token: str) -> None:
        """`account` is its path."""
        self.server = server
        self._account = account
        self._token = token
        self._pool = KeptConnections(Timeouts(ANSWER_SECONDS, ANSWER_SECONDS))

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        read: Callable[[ClientResponse], bytes] = ClientResponse.read,
    ) -> LoadAnswer:
        """One request; `path` begins below the account. Raises ServerUnreachable."""
        sent = {"X-Auth-Token": self._token, **(headers or {})}
        if isinstance(body, bytes):
            sent["Content-Length"] = str(len(body))
            body = iter((body,))
        with self._pool.send(self.server, method, self._account + path, sent, body) as response:
            return LoadAnswer(response.status, response.headers, read(response))

    def close(self) -> None:
        self._pool.close()


PIECE: Final = 1024 * 1024


class Streamer:
    """One large object, and a connection for it."""

    def __init__(self, name: str, container: str, session: LoadSession, findings: LoadFindings) -> None:
        self.name = name
        self._path = f"/{container}/{name}"
        self._session = session
        self._findings = findings
        self.etag = ""

    def upload(self, mebibytes: int, seconds: float) -> None:
        """PUT it, taking about that long."""
        digest = hashlib.md5(usedforsecurity=False)

        def pieces() -> Iterator[bytes]:
            for number in range(mebibytes):
                piece = ExpectedContent(f"{self._path}-{number}-{time.monotonic_ns()}", PIECE).content
                digest.update(piece)
                yield piece
                time.sleep(seconds / mebibytes)

        answer = self._try("PUT", pieces(), {"Content-Length": str(mebibytes * PIECE)}, ClientResponse.read)
        if answer is None:
            return
        if answer.status == 201 and answer.headers.get("etag") == digest.hexdigest():
            self.etag = digest.hexdigest()
        else:
            self._findings.failed(f"PUT {self._path}: {answer.status} {answer.headers.get('etag')} {answer.body!r}")

    def download(self, seconds: float) -> None:
        """GET it, taking about that long."""

        def read(response: ClientResponse) -> bytes:
            digest = hashlib.md5(usedforsecurity=False)
            pause = seconds * PIECE / max(int(response.headers.get("content-length", PIECE)), PIECE)
            for piece in response.chunks(PIECE):
                digest.update(piece)
                time.sleep(pause)
            return digest.hexdigest().encode()

        answer = self._try("GET", None, {}, read)
        if answer is not None and (answer.status != 200 or answer.body.decode() != self.etag):
            self._findings.failed(f"GET {self._path}: {answer.status}, MD5 {answer.body!r} instead of {self.etag}")

    def _try(
        self,
        method: str,
        body: Iterator[bytes] | None,
        headers: Mapping[str, str],
        read: Callable[[ClientResponse], bytes],
    ) -> LoadAnswer | None:
        try:
            answer = self._session.request(method, self._path, body, headers, read)
        except ServerUnreachable as error:
            self._findings.failed(f"{method} {self._path}: {error}")
            return None
        self._findings.answered += 1
        return answer
