"""Requests that stand for many: the answer is 200 at once, and a report in the body tells what became of each part."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, TypeVar

from msgspec import Struct

from objstore.headers import Client
from objstore.http.errors import REASONS, HttpError
from objstore.http.messages import Response
from objstore.logs import Logger
from objstore.proxy.swift import errors, reports
from objstore.proxy.swift.features.heartbeat import Heartbeat
from objstore.proxy.swift.reports import Problem
from objstore.proxy.swift.request import SwiftRequest

PROBLEMS_MAX: Final = 1000


class BulkReport(Struct):
    """What has become of the parts. `root` is what XML calls the report."""

    root: ClassVar[str]

    problems: list[Problem] = []
    refusal: str = ""  # why nothing more was done

    @property
    def status(self) -> int:
        """Of the work as a whole."""
        raise NotImplementedError

    @property
    def counts(self) -> dict[str, int]:
        """What was done, by what reports call it."""
        raise NotImplementedError

    @property
    def problem_status(self) -> int:
        """Of work that had problems; 0 if it had none."""
        if not self.problems and not self.refusal:
            return 0
        return 401 if any(reason.startswith("401") for _, reason in self.problems) else 400

    def add_problem(self, name: str, status: int) -> None:
        self.problems.append((name, f"{status} {REASONS.get(status, 'Unknown')}"))

    def rendered(self, content_type: str) -> bytes:
        """What a client is told."""
        fields: dict[str, str | int] = {
            **self.counts,
            "Response Body": self.refusal,
            "Response Status": f"{self.status} {REASONS[self.status]}",
        }
        return reports.report(content_type, self.root, fields, self.problems)


Report = TypeVar("Report", bound=BulkReport)


def answer(request: SwiftRequest, log: Logger, told: Report, work: Callable[[Report], None]) -> Response:
    """200 and, once `work` is done, the report in the body."""
    content_type = reports.report_type(request)

    def report() -> bytes:
        try:
            work(told)
        except Exception as error:
            if not errors.is_foreseen(error):
                log.exception("unforeseen error", trans_id=request.transaction_id, path=request.path)
            refusal = errors.refusal_of(error)
            told.refusal = refusal.reason if isinstance(error, HttpError) else REASONS[refusal.status]
        return told.rendered(content_type)

    headers = {Client.CONTENT_TYPE: f"{content_type}; charset=utf-8"}
    return Response(200, headers, Heartbeat(report))
