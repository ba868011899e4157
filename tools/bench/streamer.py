"""Large objects that go up and come down slowly, so that a body is always under way."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from objstore.tools.bench.sessions import Answer, Findings, Session, Version

PIECE: Final = 1024 * 1024


class Streamer:
    """One large object, and a connection for it."""

    def __init__(self, name: str, container: str, session: Session, findings: Findings) -> None:
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
                piece = Version(f"{self._path}-{number}-{time.monotonic_ns()}", PIECE).content
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
    ) -> Answer | None:
        try:
            answer = self._session.request(method, self._path, body, headers, read)
        except (OSError, http.client.HTTPException) as error:
            self._findings.failed(f"{method} {self._path} through {self._session.address[0]}: {error!r}")
            return None
        self._findings.answered += 1
        return answer
