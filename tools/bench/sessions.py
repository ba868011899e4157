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
class Version:
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
class Answer:
    """Status, headers and body of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Findings:
    """What came out: requests answered, and everything that was not as it must be."""

    began: float = field(default_factory=time.monotonic)
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    stale: int = 0  # answers of what was before, put right by asking for the newest, or again
    tolerated: int = 0  # failures of connections to the proxy that was killed

    def failed(self, what: str) -> None:
        """Note a failure, with the second at which it happened."""
        self.failures.append(f"{time.monotonic() - self.began:6.2f} s  {what}")


class Session:
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
    ) -> Answer:
        """One request, never repeated; `path` begins below the account. Raises OSError and HTTPException."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(*self.address, timeout=ANSWER_SECONDS)
        try:
            sent = {"X-Auth-Token": self._token, **(headers or {})}
            if body is None and method in ("PUT", "POST"):
                sent["Content-Length"] = "0"
            self._connection.request(method, self._account + path, body, sent)
            response = self._connection.getresponse()
            answer = Answer(response.status, dict(response.headers.items()), read(response))
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
