"""Answers to work that may take longer than a client, or a proxy in between, waits for a first byte.

The status is 202 at once; blanks follow while the work goes on, and then its outcome, as JSON or as lines of text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from objstore.headers import Client
from objstore.http.errors import REASONS
from objstore.http.messages import Response
from objstore.proxy.swift.request import SwiftRequest
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout

BEAT_SECONDS: Final = 10.0
JSON: Final = "application/json"
PLAIN: Final = "text/plain"


class Heartbeat:
    """The body of such an answer. The work begins with it; closing it before the work is done abandons the work."""

    __slots__ = ("_as_json", "_beat_seconds", "_task", "length")

    def __init__(self, work: Callable[[], Response], *, as_json: bool, beat_seconds: float = BEAT_SECONDS) -> None:
        """`work` raises nothing."""
        self.length: int | None = None
        self._as_json = as_json
        self._beat_seconds = beat_seconds
        self._task = concurrency.spawn(work)

    def __iter__(self) -> Iterator[bytes]:
        beaten = False
        while True:
            try:
                outcome = self._task.wait(self._beat_seconds)
                break
            except WaitTimeout:
                beaten = True
                yield b" "
        if beaten and not self._as_json:
            yield b"\r\n\r\n"
        yield report(outcome, as_json=self._as_json)

    def close(self) -> None:
        """Does nothing once the work is done."""
        self._task.kill()


def answer(request: SwiftRequest, work: Callable[[], Response]) -> Response:
    """202, and what `work` comes to in the body. `work` raises nothing."""
    offers = request.accept.acceptable_offers([PLAIN, JSON])
    as_json = bool(offers) and offers[0][0] == JSON
    headers = {Client.CONTENT_TYPE: f"{JSON if as_json else PLAIN}; charset=utf-8"}
    return Response(202, headers, Heartbeat(work, as_json=as_json))


def report(outcome: Response, *, as_json: bool) -> bytes:
    """A response told in a body. A refusal's reason is its Response Body."""
    fields = {
        "Response Status": f"{outcome.status} {REASONS.get(outcome.status, 'Unknown')}",
        "Response Body": outcome.read_all().decode("utf-8", "replace"),
        "Last Modified": outcome.headers.get(Client.LAST_MODIFIED, ""),
        "Etag": outcome.headers.get(Client.ETAG, ""),
    }
    if as_json:
        return msgspec.json.encode({**fields, "Errors": []})
    return "".join(f"{name}: {value}\n" for name, value in fields.items()).encode() + b"Errors:\n"
