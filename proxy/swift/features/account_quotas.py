"""Accounts with a limit that the reseller sets: in bytes or objects, of all or of one storage policy.

    X-Account-Quota-Bytes, X-Account-Quota-Count
    X-Account-Quota-Bytes-Policy-<policy>, X-Account-Quota-Count-Policy-<policy>
    X-Account-Meta-Quota-Bytes      the oldest spelling of the first

They are kept as system metadata, those of policies by index, since a policy's name may change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.policies import Policies, UnknownPolicy
from objstore.proxy.core.info import AccountInfo
from objstore.proxy.swift.features import quotas
from objstore.proxy.swift.features.base import Feature, Handler, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
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
# In the metadata and system metadata of an account.
BYTES_KEY: Final = "Quota-Bytes"
COUNT_KEY: Final = "Quota-Count"


class Use(Struct):
    """What an account holds, in all or in one storage policy."""

    containers: int = 0
    objects: int = 0
    bytes: int = 0


class Limit(Struct):
    """The quotas of an account, or of one of its policies (None: there is none), and what is used of them."""

    bytes_quota: int | None
    count_quota: int | None
    use: Use


_stats: Final = msgspec.json.Decoder(dict[str, Use])


class AccountQuotas(Feature):
    """Refuses uploads beyond the quota with 413; quotas of who is not the reseller with 403."""

    __slots__ = ("_info", "_policies")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        self._info = context.info
        self._policies = context.cluster.policies

    def sections(self) -> Mapping[str, Section]:
        """See Feature."""
        return {"account_quotas": {}}

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        resource = request.resource
        if resource is None:
            return self._next(request)
        if resource.object:
            if request.method == "PUT":
                self._check_upload(request)
            return self._next(request)
        if resource.container:
            return self._next(request)
        if request.method in ("PUT", "POST"):
            self._keep_quotas(request)
        response = self._next(request)
        show_quotas(response.headers, self._policies)
        return response

    def _keep_quotas(self, request: SwiftRequest) -> None:
        given = given_quotas(request)
        if not given:
            return
        if request.identity is not None and not request.identity.reseller_admin:
            raise HttpError(403)
        for header, value in given.items():
            if value and not quotas.is_quota(value):
                raise HttpError(400, f"{header} is not a whole number")
            if header != Client.ACCOUNT_META_QUOTA_BYTES:
                request.set_header(header, None)
                request.set_header(kept_name(header, self._policies), value)

    def _check_upload(self, request: SwiftRequest) -> None:
        if request.identity is not None and request.identity.reseller_admin:
            return
        resource = request.storage_resource
        account = self._info.account(request, resource.account)
        if not has_quotas(account):
            return
        container = self._info.container(request, resource.container_path)
        size = quotas.upload_size(request)
        for limit in limits_of(account, container.policy_index):
            if quotas.exceeds(limit.bytes_quota, limit.use.bytes, size) or quotas.exceeds(
                limit.count_quota, limit.use.objects, 1
            ):
                raise quotas.refuse(request, container.write_acl)
            quotas.leave_room(request, limit.bytes_quota, limit.use.bytes)


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


def show_quotas(headers: dict[str, str], policies: Policies) -> None:
    """Put an account's quotas, as they are kept, into the headers that clients see."""
    for shown, kept in WHOLE.items():
        if headers.get(kept):
            headers[shown] = headers[kept]
    for policy in policies:
        for shown_prefix, kept_prefix in OF_POLICY.items():
            value = headers.get(f"{kept_prefix}{policy.index}")
            if value:
                headers[shown_prefix + policy.name.title()] = value


def has_quotas(account: AccountInfo) -> bool:
    """Whether an account has any, so that most uploads need not look further."""
    return BYTES_KEY in account.metadata or any(key.startswith("Quota-") for key in account.sysmeta)


def limits_of(account: AccountInfo, policy_index: int) -> Iterator[Limit]:
    """Every quota that an object of this policy has to keep."""
    kept = account.sysmeta
    yield Limit(
        quotas.parse_quota(kept.get(BYTES_KEY) or account.metadata.get(BYTES_KEY)),
        quotas.parse_quota(kept.get(COUNT_KEY)),
        Use(objects=account.object_count, bytes=account.bytes_used),
    )
    bytes_quota = quotas.parse_quota(kept.get(f"{BYTES_KEY}-Policy-{policy_index}"))
    count_quota = quotas.parse_quota(kept.get(f"{COUNT_KEY}-Policy-{policy_index}"))
    if bytes_quota is not None or count_quota is not None:
        use = _stats.decode(account.policy_stats or "{}").get(str(policy_index), Use())
        yield Limit(bytes_quota, count_quota, use)
