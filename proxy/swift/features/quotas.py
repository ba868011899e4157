"""Quotas of containers, which their owners set, and of accounts, which the reseller sets.

    X-Container-Meta-Quota-Bytes, X-Container-Meta-Quota-Count
    X-Account-Quota-Bytes, X-Account-Quota-Count
    X-Account-Quota-Bytes-Policy-<policy>, X-Account-Quota-Count-Policy-<policy>
    X-Account-Meta-Quota-Bytes      the oldest spelling of an account's first

Those of accounts are kept as system metadata, those of policies by index, since a policy's name may change. What they
mean for uploads is in `objstore.proxy.core.quotas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar, Final

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.paths import ResourcePath
from objstore.policies import Policies, UnknownPolicy
from objstore.proxy.core.info import AccountInfo, ContainerInfo
from objstore.proxy.core.quotas import QuotaUpload, is_quota
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
    from objstore.proxy.core.context import ProxyContext

# What clients write -> where it is kept.
WHOLE: Final = {
    Client.ACCOUNT_QUOTA_BYTES: Sysmeta.ACCOUNT_QUOTA_BYTES,
    Client.ACCOUNT_QUOTA_COUNT: Sysmeta.ACCOUNT_QUOTA_COUNT,
}
OF_POLICY: Final = {
    Client.ACCOUNT_QUOTA_BYTES_POLICY_PREFIX: Sysmeta.ACCOUNT_QUOTA_BYTES_POLICY_PREFIX,
    Client.ACCOUNT_QUOTA_COUNT_POLICY_PREFIX: Sysmeta.ACCOUNT_QUOTA_COUNT_POLICY_PREFIX,
}
FAMILY: Final = "X-Account-Quota-"
REMOVE_FAMILY: Final = "X-Remove-Account-Quota-"
REMOVE_OLD: Final = "X-Remove-Account-Meta-Quota-Bytes"


class Quotas(Feature):
    """Refuses quotas that are no numbers with 400, those of an account to all but the reseller with 403.

    Uploads beyond a quota get 413.
    """

    methods: ClassVar = frozenset({"PUT", "POST"})
    kinds: ClassVar = frozenset({"account", "container"})

    def __init__(self, context: ProxyContext) -> None:
        self._policies = context.cluster.policies
        self._keeper = context.quotas

    def sections(self) -> Mapping[str, Section]:
        """Both kinds of quotas have a section without items."""
        return {"container_quotas": {}, "account_quotas": {}}

    def __call__(self, request: SwiftRequest) -> None:
        """Check the quotas that the request sets. Raises HttpError 400, 403."""
        if not request.storage_resource.container:
            self._keep_quotas(request)
            return
        for header in (Client.CONTAINER_QUOTA_BYTES, Client.CONTAINER_QUOTA_COUNT):
            value = request.header(header)
            if value and not is_quota(value):
                raise HttpError(400, f"{header} is not a whole number")

    def _keep_quotas(self, request: SwiftRequest) -> None:
        given = given_quotas(request)
        if given and request.identity is not None and not request.identity.reseller_admin:
            raise HttpError(403)
        for header, value in given.items():
            if value and not is_quota(value):
                raise HttpError(400, f"{header} is not a whole number")
            if header != Client.ACCOUNT_META_QUOTA_BYTES:
                request.set_header(header, None)
                request.set_header(kept_name(header, self._policies), value)

    def reserve(
        self,
        request: SwiftRequest,
        path: ResourcePath,
        container: ContainerInfo,
        account: AccountInfo,
        size: int | None,
    ) -> AbstractContextManager[BodyReader]:
        """What a request uploads counts until it has ended; the body to read it from. Raises CoreError."""
        exempt = request.identity is not None and request.identity.reseller_admin
        upload = QuotaUpload(path, container, account, size, request.body, exempt, request.transaction_id)
        return self._keeper.reserve(upload)


def given_quotas(request: SwiftRequest) -> dict[str, str]:
    """The quotas a request sets, by header; empty to remove one."""
    given = request.headers_with_prefix(FAMILY)
    for header in request.headers_with_prefix(REMOVE_FAMILY):
        given[FAMILY + header[len(REMOVE_FAMILY) :]] = ""
    old = request.header(Client.ACCOUNT_META_QUOTA_BYTES)
    if request.header(REMOVE_OLD) is not None:
        old = ""
    return given if old is None else given | {Client.ACCOUNT_META_QUOTA_BYTES: old}


def kept_name(header: str, policies: Policies) -> str:
    """The system metadata in which a quota is kept. Raises HttpError 400 if there is no such quota."""
    if header in WHOLE:
        return WHOLE[header]
    for prefix, kept_prefix in OF_POLICY.items():
        if header.startswith(prefix):
            try:
                return f"{kept_prefix}{policies.by_name(header[len(prefix) :]).index}"
            except UnknownPolicy:
                break
    raise HttpError(400, f"No such quota: {header}")


def quota_headers(sysmeta: Mapping[str, str], policies: Policies) -> dict[str, str]:
    headers = {}
    for header, kept in WHOLE.items():
        if value := sysmeta.get(kept.removeprefix(Sysmeta.ACCOUNT_PREFIX)):
            headers[header] = value
    for policy in policies:
        for prefix, kept_prefix in OF_POLICY.items():
            if value := sysmeta.get(f"{kept_prefix.removeprefix(Sysmeta.ACCOUNT_PREFIX)}{policy.index}"):
                headers[prefix + policy.name.title()] = value
    return headers
