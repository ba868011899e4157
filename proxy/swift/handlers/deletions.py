"""Requests that delete many objects: each as by a request of its own; a report tells what became of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.errors import StoreError
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.parallel import for_each
from objstore.proxy.swift import errors
from objstore.proxy.swift.handlers.bulk import PROBLEMS_MAX, BulkReport
from objstore.proxy.swift.request import SwiftRequest

CONCURRENCY: Final = 2

# Answers a DELETE.
Delete = Callable[[SwiftRequest], Response]


class DeletionReport(BulkReport):
    """What has become of what was to be deleted."""

    root = "delete"

    deleted: int = 0
    not_found: int = 0

    @property
    def status(self) -> int:
        return self.problem_status or (404 if self.not_found and not self.deleted else 200)

    @property
    def counts(self) -> dict[str, int]:
        return {"Number Deleted": self.deleted, "Number Not Found": self.not_found}

    def count(self, path: ResourcePath, error: StoreError) -> None:
        """Count a deletion that was refused."""
        status = errors.refusal_of(error).status
        if status == 404:
            self.not_found += 1
        else:
            self.add_problem(name_of(path), status)
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
        answer = delete(request.derived("DELETE", path))
        if answer.status == 404:
            told.not_found += 1
        else:
            told.deleted += 1
    except StoreError as error:
        if not errors.is_foreseen(error):
            raise
        told.count(path, error)
