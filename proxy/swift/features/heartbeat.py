"""Answers to work that may take longer than a client, or a proxy in between, waits for a first byte.

The status is 202 at once; blanks follow while the work goes on, and then its outcome, as JSON or as lines of text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from objstore.headers import Client
from objstore.http.errors import REASONS
from objstore.http.messages import Response
from objstore.proxy.swift import reports
from objstore.proxy.swift.request import SwiftRequest
from objstore.system import concurrency
from objstore.system.concurrency import WaitTimeout

BEAT_SECONDS: Final = 10.0
# Clients of the API know this text of a refusal that lists problems.
PROBLEMS_LISTED: Final = (
    "Bad Request\nThe server could not comply with the request since it is either malformed or otherwise incorrect."
)


class Heartbeat:
    """The body of such an answer. The work begins with it; closing it before the work is done abandons the work."""

    __slots__ = ("_at_once", "_beat_seconds", "_task", "length")

    def __init__(self, work: Callable[[], bytes], *, at_once: bool = False, beat_seconds: float = BEAT_SECONDS) -> None:
        """`work` makes the end of the body and raises nothing. at_once: the first blank does not wait for a beat."""
        self.length: int | None = None
        self._at_once = at_once
        self._beat_seconds = beat_seconds
        self._task = concurrency.spawn(work)

    def __iter__(self) -> Iterator[bytes]:
        beaten = self._at_once
        if beaten:
            yield b" "
        while True:
            try:
                outcome = self._task.wait(self._beat_seconds)
                break
            except WaitTimeout:
                beaten = True
                yield b" "
        if beaten:
            yield b"\r\n\r\n"
        yield outcome

    def close(self) -> None:
        """Does nothing once the work is done."""
        self._task.kill()


def answer(request: SwiftRequest, work: Callable[[], Response]) -> Response:
    """202, and what `work` comes to in the body. `work` raises nothing."""
    content_type = reports.report_type(request)
    headers = {Client.CONTENT_TYPE: f"{content_type}; charset=utf-8"}
    return Response(202, headers, Heartbeat(lambda: report(work(), content_type), at_once=True))


def report(outcome: Response, content_type: str) -> bytes:
    """A response told in a body. A refusal's reason is its Response Body, unless it lists problems."""
    problems = getattr(outcome, "problems", ())
    fields = {
        "Response Status": f"{outcome.status} {REASONS.get(outcome.status, 'Unknown')}",
        "Response Body": PROBLEMS_LISTED if problems else outcome.read_all().decode("utf-8", "replace"),
    }
    for name, header in (("Last Modified", Client.LAST_MODIFIED), ("Etag", Client.ETAG)):
        if header in outcome.headers:
            fields[name] = outcome.headers[header]
    return reports.report(content_type, "upload", fields, problems)
