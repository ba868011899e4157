"""Accounts."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

import msgspec
from msgspec import Struct

from objstore.headers import OWNER_ONLY, Backend, Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.http.transport import BackendResponse
from objstore.limits import check_metadata, check_path
from objstore.paths import ResourcePath
from objstore.policies import Policies, UnknownPolicy
from objstore.proxy.core.info import account_key
from objstore.proxy.core.quorum_request import QuorumResult
from objstore.proxy.swift.handlers.common import (
    HandlerContext,
    authorize,
    backend_headers,
    client_headers,
    error_response,
    metadata_changes,
    metadata_refused,
)
from objstore.proxy.swift.handlers.listing import listing_format, listing_request
from objstore.proxy.swift.methods import OF_ACCOUNTS
from objstore.proxy.swift.request import SwiftRequest
from objstore.quorum import best_status

OWN_HEADERS: Final = frozenset(name for name in OWNER_ONLY if name.startswith("X-Account-"))
EMPTY_LISTINGS: Final = {
    "plain": "",
    "json": "[]",
    "xml": '<?xml version="1.0" encoding="UTF-8"?>\n<account name={}>\n</account>',
}


class PolicyStats(Struct, frozen=True):
    """What an account holds under one policy; bytes in all."""

    containers: int = 0
    objects: int = 0
    bytes: int = 0


_stats_decoder: Final = msgspec.json.Decoder(dict[int, PolicyStats])


class AccountHandler:
    """One function for each verb."""

    def __init__(self, tools: HandlerContext) -> None:
        self._tools = tools
        self._context = tools.context
        self._accounts = tools.context.config.accounts

    def head(self, request: SwiftRequest) -> Response:
        """204, or 410 for a deleted one; an absent one looks empty if accounts are made on demand."""
        resource = request.storage_resource
        wanted = listing_format(request)
        authorize(request)
        found = self._read(request, resource, "HEAD", "")
        if found.status == 404 and self._is_made_on_demand(found):
            return wanted.answer(self._of_an_empty_one())
        if found.status >= 300:
            return _failure(found)
        return wanted.answer(self._shown(found, request))

    def get(self, request: SwiftRequest) -> Response:
        """The containers: 200, 204 when there are none to list in plain text."""
        resource = request.storage_resource
        listing = listing_request(request, self._context.cluster.limits.account_listing_limit)
        authorize(request)
        found = self._read(request, resource, "GET", listing.query)
        if found.status == 404 and self._is_made_on_demand(found):
            name = quoteattr(resource.account)
            body = EMPTY_LISTINGS[listing.format.name].replace("{}", name).encode()
            return listing.format.answer(self._of_an_empty_one(), body)
        if found.status >= 300:
            return _failure(found)
        return listing.answer(found, self._shown(found, request))

    def put(self, request: SwiftRequest) -> Response:
        """201, 202 if it is there, 403 if it is deleted and not reaped yet."""
        resource = request.storage_resource
        authorize(request)
        self._check_management()
        changes = self._changes(request, resource)
        answers = self._write(request, resource, "PUT", changes)
        status = best_status(answers.statuses, answers.quorum)
        if status == 403 or _deleted(answers):
            return error_response(403, reason="The account is deleted, and not emptied yet")
        return Response(status) if status < 300 else self._refusal(status)

    def post(self, request: SwiftRequest) -> Response:
        """204; makes the account if accounts are made on demand."""
        resource = request.storage_resource
        authorize(request)
        changes = self._changes(request, resource)
        answers = self._write(request, resource, "POST", changes)
        status = best_status(answers.statuses, answers.quorum)
        if status == 404 and not _deleted(answers) and self._accounts.account_autocreate:
            self.create(request, resource.account)
            answers = self._write(request, resource, "POST", changes)
            status = best_status(answers.statuses, answers.quorum)
        if status == 404 and _deleted(answers):
            return error_response(410, {Client.ACCOUNT_STATUS: "Deleted"})
        return Response(204) if status < 300 else self._refusal(status)

    def delete(self, request: SwiftRequest) -> Response:
        """204. A query refuses it: a mistyped bulk delete must not cost an account."""
        resource = request.storage_resource
        authorize(request)
        self._check_management()
        if request.environ.get("QUERY_STRING"):
            raise HttpError(400)
        answers = self._write(request, resource, "DELETE", {})
        status = best_status(answers.statuses, answers.quorum)
        if status == 404 and _deleted(answers):
            return error_response(410, {Client.ACCOUNT_STATUS: "Deleted"})
        return Response(204) if status < 300 else error_response(status)

    def create(self, request: SwiftRequest, account: str) -> None:
        """Make an account on demand. Raises HttpError 503, or 4xx if it cannot be."""
        resource = ResourcePath(account)
        check_path(self._context.cluster.limits, resource)
        answers = self._write(request, resource, "PUT", {})
        status = best_status(answers.statuses, answers.quorum)
        if status >= 300:
            raise HttpError(status)

    def _read(self, request: SwiftRequest, resource: ResourcePath, method: str, query: str) -> BackendResponse:
        newest = is_true(request.header(Client.NEWEST))
        place = self._tools.account_place(resource.account)
        return self._tools.reader.read(method, place, backend_headers(request), query, newest=newest)

    def _write(
        self, request: SwiftRequest, resource: ResourcePath, method: str, changes: dict[str, str]
    ) -> QuorumResult:
        headers = backend_headers(request) | changes
        headers[Client.TIMESTAMP] = self._tools.timestamp(request).internal
        place = self._tools.account_place(resource.account)
        answers = self._tools.writer.send(method, place, [headers] * place.replicas)
        self._context.cache.invalidate(account_key(resource.account))
        return answers

    def _changes(self, request: SwiftRequest, resource: ResourcePath) -> dict[str, str]:
        limits = self._context.cluster.limits
        check_path(limits, resource)
        changes = metadata_changes(request, "Account", OWN_HEADERS)
        check_metadata(limits, Client.ACCOUNT_META_PREFIX, changes)
        return changes

    def _check_management(self) -> None:
        if not self._accounts.allow_account_management:
            raise HttpError(405, headers={Client.ALLOW: ", ".join(OF_ACCOUNTS)})

    def _is_made_on_demand(self, found: BackendResponse) -> bool:
        return self._accounts.account_autocreate and Client.ACCOUNT_STATUS not in found.headers

    def _of_an_empty_one(self) -> dict[str, str]:
        now = self._context.runtime.clock.timestamp().normal
        counts = (Client.ACCOUNT_CONTAINER_COUNT, Client.ACCOUNT_OBJECT_COUNT, Client.ACCOUNT_BYTES_USED)
        return dict.fromkeys(counts, "0") | {Client.TIMESTAMP: now}

    def _refusal(self, status: int) -> Response:
        """Of a write that may bring metadata."""
        return error_response(status, reason=metadata_refused(self._context.cluster.limits) if status == 400 else "")

    def _shown(self, found: BackendResponse, request: SwiftRequest) -> dict[str, str]:
        headers = client_headers(found, request)
        stats = headers.get(Backend.POLICY_STATS)
        if stats:
            headers |= policy_headers(stats, self._context.cluster.policies)
        return headers


def policy_headers(stats: str, policies: Policies) -> dict[str, str]:
    """The counts of each policy under its name; policies nobody knows any more are left out."""
    headers = {}
    for index, each in _stats_decoder.decode(stats).items():
        try:
            prefix = f"{Client.ACCOUNT_STORAGE_POLICY_PREFIX}{policies.by_index(index).name.title()}"
        except UnknownPolicy:
            continue
        headers[f"{prefix}-Container-Count"] = str(each.containers)
        headers[f"{prefix}-Object-Count"] = str(each.objects)
        headers[f"{prefix}-Bytes-Used"] = str(each.bytes)
    return headers


def _deleted(answers: QuorumResult) -> bool:
    return answers.header(404, Client.ACCOUNT_STATUS) is not None


def _failure(found: BackendResponse) -> Response:
    found.close()
    status = found.headers.get(Client.ACCOUNT_STATUS)
    if found.status == 404 and status is not None:
        return error_response(410, {Client.ACCOUNT_STATUS: status})
    return error_response(found.status)
