"""Accounts: requests become commands of the core, and results become answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from objstore.headers import OWNER_ONLY, Client, Owner, Sysmeta, family, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import check_metadata, check_path
from objstore.policies import Policies, UnknownPolicy
from objstore.proxy.core.accounts import GetAccount, WriteAccount
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.info import AccountInfo, PolicyStats
from objstore.proxy.core.listing import NO_QUERY, ListingQuery
from objstore.proxy.swift.features.quotas import quota_headers
from objstore.proxy.swift.handlers.common import (
    listing_format,
    listing_query,
    metadata_changes,
    metadata_headers,
    write_fields,
)
from objstore.proxy.swift.methods import OF_ACCOUNTS
from objstore.proxy.swift.request import ACCESS_CONTROL_KEY, SwiftRequest
from objstore.xmltext import DECLARATION, escaped

META: Final = Client.ACCOUNT_META_PREFIX
OWN_HEADERS: Final = frozenset(name for name in OWNER_ONLY if name.startswith("X-Account-"))
EMPTY_LISTINGS: Final = {
    "plain": "",
    "json": "[]",
    "xml": DECLARATION + '<account name="{}">\n</account>',
}


class AccountHandler:
    def __init__(self, context: ProxyContext) -> None:
        self._accounts = context.accounts
        self._config = context.config.accounts
        self._policies = context.cluster.policies
        self._limits = context.cluster.limits
        self._clock = context.runtime.clock

    def head(self, request: SwiftRequest) -> Response:
        """204, or 410 for a deleted one; an absent one looks empty if accounts are made on demand."""
        wanted = listing_format(request)
        info = self._accounts.head(self._reading(request, NO_QUERY))
        return wanted.answer(self._headers(info, request))

    def get(self, request: SwiftRequest) -> Response:
        """The containers: 200, 204 when there are none to list in plain text."""
        query, wanted = listing_query(request, self._limits.account_listing_limit), listing_format(request)
        opened = self._accounts.open(self._reading(request, query), wanted.name)
        body = opened.body
        if body is None:
            name = escaped(request.storage_resource.account)
            body = EMPTY_LISTINGS[wanted.name].replace("{}", name).encode()
        return wanted.answer(self._headers(opened.info, request), body)

    def put(self, request: SwiftRequest) -> Response:
        """201, 202 if it is there, 403 if it is deleted and not reaped yet."""
        request.check_access()
        self._check_management()
        created = self._accounts.put(WriteAccount(**write_fields(request, self._clock), **self._changes(request)))
        return Response(201 if created else 202)

    def post(self, request: SwiftRequest) -> Response:
        """204; makes the account if accounts are made on demand."""
        request.check_access()
        self._accounts.post(WriteAccount(**write_fields(request, self._clock), **self._changes(request)))
        return Response(204)

    def delete(self, request: SwiftRequest) -> Response:
        """204. A query refuses it: a mistyped bulk delete must not cost an account."""
        request.check_access()
        self._check_management()
        if request.environ.get("QUERY_STRING"):
            raise HttpError(400)
        self._accounts.delete(WriteAccount(**write_fields(request, self._clock)))
        return Response(204)

    def _reading(self, request: SwiftRequest, query: ListingQuery) -> GetAccount:
        """The read that a request asks for. Raises HttpError 401, 403."""
        request.check_access()
        newest = is_true(request.header(Client.NEWEST))
        return GetAccount(request.storage_resource, query, newest, request.transaction_id)

    def _changes(self, request: SwiftRequest) -> dict[str, Any]:
        check_path(self._limits, request.storage_resource)
        changes = metadata_changes(request, "Account", OWN_HEADERS)
        check_metadata(self._limits, META, changes)
        return {"metadata": family(changes, META), "sysmeta": family(changes, Sysmeta.ACCOUNT_PREFIX)}

    def _check_management(self) -> None:
        if not self._config.allow_account_management:
            raise HttpError(405, headers={Client.ALLOW: ", ".join(OF_ACCOUNTS)})

    def _headers(self, info: AccountInfo, request: SwiftRequest) -> dict[str, str]:
        headers = {
            Client.ACCOUNT_CONTAINER_COUNT: str(info.container_count),
            Client.ACCOUNT_OBJECT_COUNT: str(info.object_count),
            Client.ACCOUNT_BYTES_USED: str(info.bytes_used),
            Client.TIMESTAMP: info.created_at,
        }
        if info.last_modified:
            headers[Client.LAST_MODIFIED] = info.last_modified
        headers |= metadata_headers(META, info.metadata, request.owner)
        headers |= policy_headers(info.policy_stats, self._policies)
        headers |= quota_headers(info.sysmeta, self._policies)
        access = info.sysmeta.get(ACCESS_CONTROL_KEY)
        if access and request.owner:
            headers[Owner.ACCOUNT_ACCESS_CONTROL] = access
        return headers


def policy_headers(stats: Mapping[int, PolicyStats], policies: Policies) -> dict[str, str]:
    """The counts of each policy under its name; policies nobody knows any more are left out."""
    headers = {}
    for index, each in stats.items():
        try:
            prefix = f"{Client.ACCOUNT_STORAGE_POLICY_PREFIX}{policies.by_index(index).name.title()}"
        except UnknownPolicy:
            continue
        headers[f"{prefix}-Container-Count"] = str(each.containers)
        headers[f"{prefix}-Object-Count"] = str(each.objects)
        headers[f"{prefix}-Bytes-Used"] = str(each.bytes)
    return headers
