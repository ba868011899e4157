"""Containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from objstore.headers import OWNER_ONLY, Backend, Client, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.http.transport import BackendResponse
from objstore.limits import check_metadata, check_path
from objstore.policies import Policy, UnknownPolicy
from objstore.proxy.core.container_updates import OF_ACCOUNT, add_updates
from objstore.proxy.core.info import account_key, container_key
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
from objstore.proxy.swift.request import SwiftRequest
from objstore.quorum import best_status
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.paths import ResourcePath
    from objstore.proxy.swift.handlers.account import AccountHandler

OWN_HEADERS: Final = frozenset(name for name in OWNER_ONLY if name.startswith("X-Container-"))


class ContainerHandler:
    """One function for each verb."""

    def __init__(self, tools: HandlerContext, accounts: AccountHandler) -> None:
        self._tools = tools
        self._context = tools.context
        self._accounts = accounts

    def head(self, request: SwiftRequest) -> Response:
        """204, 404."""
        resource = request.storage_resource
        wanted = listing_format(request)
        self._authorize_reading(request, resource)
        found = self._read(request, resource, "HEAD", "")
        if found.status >= 300:
            return error_response(found.status)
        return wanted.answer(self._shown(found, request))

    def get(self, request: SwiftRequest) -> Response:
        """The objects: 200, 404, 204 when there are none to list in plain text."""
        resource = request.storage_resource
        listing = listing_request(request, self._context.cluster.limits.container_listing_limit)
        self._authorize_reading(request, resource)
        found = self._read(request, resource, "GET", listing.query)
        if found.status >= 300:
            found.close()
            return error_response(found.status)
        return listing.answer(found, self._shown(found, request))

    def put(self, request: SwiftRequest) -> Response:
        """201, 202 if it is there, 404 without its account, 409 if it has another storage policy."""
        resource = request.storage_resource
        authorize(request)
        changes = self._changes(request, resource)
        policy = self._policy(request)
        self._ensure_account(request, resource)
        headers = backend_headers(request) | changes
        headers[Client.TIMESTAMP] = self._tools.timestamp(request).internal
        headers[Backend.POLICY_DEFAULT] = str(self._context.cluster.policies.default.index)
        if policy is not None:
            headers[Backend.POLICY_INDEX] = str(policy.index)
        answers = self._write(request, resource, "PUT", headers, tell_account=True)
        status = best_status(answers.statuses, answers.quorum)
        return Response(status) if status < 300 else self._refusal(status, answers)

    def post(self, request: SwiftRequest) -> Response:
        """204, 404."""
        resource = request.storage_resource
        authorize(request)
        changes = self._changes(request, resource)
        self._require_account(request, resource)
        headers = backend_headers(request) | changes
        headers[Client.TIMESTAMP] = self._tools.timestamp(request).internal
        answers = self._write(request, resource, "POST", headers, tell_account=False)
        status = best_status(answers.statuses, answers.quorum)
        return Response(204) if status < 300 else self._refusal(status, answers)

    def delete(self, request: SwiftRequest) -> Response:
        """204, 404, 409 while it holds objects."""
        resource = request.storage_resource
        authorize(request)
        self._require_account(request, resource)
        headers = backend_headers(request)
        headers[Client.TIMESTAMP] = self._tools.timestamp(request).internal
        answers = self._write(request, resource, "DELETE", headers, tell_account=True)
        status = best_status(answers.statuses, answers.quorum)
        return Response(204) if status < 300 else self._refusal(status, answers)

    def _authorize_reading(self, request: SwiftRequest, resource: ResourcePath) -> None:
        """By the container's list of readers. Raises HttpError 401, 403, 404."""
        info = self._context.info.container(request, resource)
        request.acl = info.read_acl
        authorize(request)
        if info.status == 404:
            raise HttpError(404)

    def _policy(self, request: SwiftRequest) -> Policy | None:
        """The one that is asked for. Raises HttpError 400."""
        name = request.header(Client.STORAGE_POLICY)
        if not name:
            return None
        try:
            policy = self._context.cluster.policies.by_name(name)
        except UnknownPolicy:
            raise HttpError(400, f"Invalid {Client.STORAGE_POLICY} '{name}'") from None
        if policy.deprecated:
            raise HttpError(400, f"Storage policy '{name}' is deprecated")
        return policy

    def _changes(self, request: SwiftRequest, resource: ResourcePath) -> dict[str, str]:
        """What an authorized request changes; what only owners see, only owners change."""
        limits = self._context.cluster.limits
        check_path(limits, resource)
        changes = metadata_changes(request, "Container", OWN_HEADERS)
        check_metadata(limits, Client.CONTAINER_META_PREFIX, changes)
        if not request.owner:
            for name in OWNER_ONLY & changes.keys():
                del changes[name]
        return changes

    def _ensure_account(self, request: SwiftRequest, resource: ResourcePath) -> None:
        """The account is there, or is made now. Raises HttpError 403 if it is full, 404, 503."""
        accounts = self._context.config.accounts
        info = self._context.info.account(request, resource.account)
        on_demand = accounts.account_autocreate or self._context.cluster.limits.is_internal_account(resource.account)
        if info.status == 404 and on_demand:
            self._accounts.create(request, resource.account)
        elif not info.exists:
            raise HttpError(503 if info.status == 503 else 404)
        limit = accounts.max_containers_per_account
        if (
            limit
            and info.container_count >= limit
            and resource.account not in accounts.max_containers_whitelist
            and not self._context.info.container(request, resource).exists
        ):
            raise HttpError(403, f"Reached container limit of {limit}")

    def _require_account(self, request: SwiftRequest, resource: ResourcePath) -> None:
        if not self._context.cluster.limits.is_internal_account(resource.account):
            info = self._context.info.account(request, resource.account)
            if info.status in (404, 410):
                raise HttpError(404)

    def _read(self, request: SwiftRequest, resource: ResourcePath, method: str, query: str) -> BackendResponse:
        newest = is_true(request.header(Client.NEWEST))
        place = self._tools.container_place(resource)
        return self._tools.reader.read(method, place, backend_headers(request), query, newest=newest)

    def _write(
        self, request: SwiftRequest, resource: ResourcePath, method: str, headers: dict[str, str], *, tell_account: bool
    ) -> QuorumResult:
        place = self._tools.container_place(resource)
        each = [dict(headers) for _ in range(place.replicas)]
        if tell_account:
            add_updates(each, self._tools.account_place(resource.account), OF_ACCOUNT)
        answers = self._tools.writer.send(method, place, each)
        cache = self._context.cache
        cache.invalidate(container_key(resource))
        if tell_account:
            cache.invalidate(account_key(resource.account))
        return answers

    def _refusal(self, status: int, answers: QuorumResult) -> Response:
        """Of a write, with what the servers mean by it."""
        reason = ""
        if status == 400:
            reason = metadata_refused(self._context.cluster.limits)
        elif status == 409 and answers.header(409, Backend.POLICY_INDEX) is not None:
            reason = "The container has another storage policy"
        elif status == 409 and answers.header(409, Backend.TIMESTAMP) is None:
            reason = "The container is not empty"
        return error_response(status, reason=reason)

    def _shown(self, found: BackendResponse, request: SwiftRequest) -> dict[str, str]:
        headers = client_headers(found, request)
        index = headers.get(Backend.POLICY_INDEX)
        if index is not None:
            try:
                headers[Client.STORAGE_POLICY] = self._context.cluster.policies.by_index(int(index)).name
            except UnknownPolicy:
                pass  # taken out of the configuration: the container can still be read
        stamp = headers.get(Backend.PUT_TIMESTAMP) or headers.get(Client.TIMESTAMP)
        if stamp and Client.LAST_MODIFIED not in headers:
            headers[Client.LAST_MODIFIED] = Timestamp.parse(stamp).http_date
        return headers
