"""Connections that repeat nothing, objects whose content is foretold, and a list of all that was not as foretold."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

Address = tuple[str, int]

ANSWER_SECONDS: Final = 60.0


@dataclass(frozen=True)
class ExpectedContent:
    """What an object must hold: its content follows from the seed; `meta` is its only metadata."""

    seed: str
    size: int
    meta: str = ""

    @property
    def content(self) -> bytes:
        """All of it."""
        block = hashlib.sha256(self.seed.encode()).digest() * 32
        return (block * (self.size // len(block) + 1))[: self.size]

    @cached_property
    def etag(self) -> str:
        """The MD5."""
        return hashlib.md5(self.content, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class LoadAnswer:
    """Status, headers and body of one answer."""

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


class LoadSession:
    """One connection to one proxy, opened again after an error."""

    def __init__(self, address: Address, account: str, token: str) -> None:
        self.address = address
        self._account = account
        self._token = token
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        read: Callable[[http.client.HTTPResponse], bytes] = http.client.HTTPResponse.read,
    ) -> LoadAnswer:
        """One request, never repeated; `path` begins below the account. Raises OSError and HTTPException."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.address, timeout=ANSWER_SECONDS)
        try:
            sent = {"X-Auth-Token": self._token, **(headers or {})}
            if body is None and method in ("PUT", "POST"):
                sent["Content-Length"] = "0"
            self._connection.request(method, self._account + path, body, sent)
            response = self._connection.getresponse()
            answer = LoadAnswer(response.status, dict(response.headers.items()), read(response))
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


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

        answer = self._try("PUT", pieces(), {"Content-Length": str(mebibytes * PIECE)}, http.client.HTTPResponse.read)
        if answer is None:
            return
        if answer.status == 201 and answer.headers.get("Etag") == digest.hexdigest():
            self.etag = digest.hexdigest()
        else:
            self._findings.failed(f"PUT {self._path}: {answer.status} {answer.headers.get('Etag')} {answer.body!r}")

    def download(self, seconds: float) -> None:
        """GET it, taking about that long."""

        def read(response: http.client.HTTPResponse) -> bytes:
            digest = hashlib.md5(usedforsecurity=False)
            pause = seconds * PIECE / max(int(response.headers.get("Content-Length", PIECE)), PIECE)
            while piece := response.read(PIECE):
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
        read: Callable[[http.client.HTTPResponse], bytes],
    ) -> LoadAnswer | None:
        try:
            answer = self._session.request(method, self._path, body, headers, read)
        except (OSError, http.client.HTTPException) as error:
            self._findings.failed(f"{method} {self._path} through {self._session.address[0]}: {error!r}")
            return None
        self._findings.answered += 1
        return answer
