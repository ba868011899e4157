"""Requests that delete many objects: each as by a request of its own; a report tells what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from objstore.errors import StoreError
from objstore.headers import Client
from objstore.http.bodies import EMPTY_BODY
from objstore.http.errors import REASONS, HttpError
from objstore.http.messages import Response
from objstore.logs import Logger
from objstore.paths import ResourcePath
from objstore.proxy.core.parallel import for_each
from objstore.proxy.swift import errors, reports
from objstore.proxy.swift.features.heartbeat import Heartbeat
from objstore.proxy.swift.reports import Problem
from objstore.proxy.swift.request import SwiftRequest

CONCURRENCY: Final = 2
PROBLEMS_MAX: Final = 1000

# Answers a DELETE.
Delete = Callable[[SwiftRequest], Response]


class DeletionReport(Struct):
    """What has become of what was to be deleted."""

    deleted: int = 0
    not_found: int = 0
    problems: list[Problem] = []
    refusal: str = ""  # why nothing more was done

    @property
    def status(self) -> int:
        """Of the work as a whole."""
        if self.problems or self.refusal:
            return 401 if any(reason.startswith("401") for _, reason in self.problems) else 400
        return 404 if self.not_found and not self.deleted else 200

    def rendered(self, content_type: str) -> bytes:
        """What a client is told."""
        fields: dict[str, str | int] = {
            "Number Deleted": self.deleted,
            "Number Not Found": self.not_found,
            "Response Body": self.refusal,
            "Response Status": f"{self.status} {REASONS[self.status]}",
        }
        return reports.report(content_type, "delete", fields, self.problems)

    def count(self, path: ResourcePath, error: StoreError) -> None:
        """Count a deletion that was refused."""
        status = errors.refusal_of(error).status
        if status == 404:
            self.not_found += 1
        else:
            self.problems.append((name_of(path), f"{status} {REASONS.get(status, 'Unknown')}"))
        if len(self.problems) >= PROBLEMS_MAX:
            self.refusal = "Max delete failures exceeded"


def name_of(path: ResourcePath) -> str:
    """How reports call a container or an object."""
    return f"/{path.container}/{path.object}" if path.object else f"/{path.container}"


def delete_each(request: SwiftRequest, paths: list[ResourcePath], delete: Delete, told: DeletionReport) -> None:
    """Delete all, two at a time; ends early when too much is refused."""

    def work(path: ResourcePath) -> None:
        if not told.refusal:
            delete_one(request, path, delete, told)

    for_each(paths, work, CONCURRENCY)


def delete_one(request: SwiftRequest, path: ResourcePath, delete: Delete, told: DeletionReport) -> None:
    """Delete one object, or an empty container, with the client's rights."""
    try:
        answer = delete(deleting(request, path))
        if answer.status == 404:
            told.not_found += 1
        else:
            told.deleted += 1
    except StoreError as error:
        if not errors.is_foreseen(error):
            raise
        told.count(path, error)


def deleting(request: SwiftRequest, path: ResourcePath) -> SwiftRequest:
    """The DELETE of one resource, by the client who sent `request`."""
    environ = {name: value for name, value in request.environ.items() if not name.startswith(("HTTP_", "CONTENT_"))}
    if "HTTP_REFERER" in request.environ:
        environ["HTTP_REFERER"] = request.environ["HTTP_REFERER"]
    location = f"/{request.version}{path}".encode().decode("latin-1")
    environ |= {"REQUEST_METHOD": "DELETE", "PATH_INFO": location, "QUERY_STRING": "", "wsgi.input": EMPTY_BODY}
    made = SwiftRequest(environ, request.limits)
    made.transaction_id, made.identity, made.authorize = request.transaction_id, request.identity, request.authorize
    return made


def answer(request: SwiftRequest, log: Logger, work: Callable[[DeletionReport], None]) -> Response:
    """200 and, once `work` is done, the report in the body."""
    content_type = reports.report_type(request)

    def report() -> bytes:
        told = DeletionReport()
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
