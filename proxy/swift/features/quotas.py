"""Quotas of containers, which their owners set, and of accounts, which the reseller sets.

    X-Container-Meta-Quota-Bytes, X-Container-Meta-Quota-Count
    X-Account-Quota-Bytes, X-Account-Quota-Count
    X-Account-Quota-Bytes-Policy-<policy>, X-Account-Quota-Count-Policy-<policy>
    X-Account-Meta-Quota-Bytes      the oldest spelling of an account's first

Those of accounts are kept as system metadata, those of policies by index, since a policy's name may change. Counts of
use lag behind, so quotas are soft.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import Struct

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.paths import ResourcePath
from objstore.policies import Policies, UnknownPolicy
from objstore.proxy.core.info import AccountInfo, ContainerInfo, PolicyStats
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

EXCEEDED: Final = "Upload exceeds quota."
# More digits than any store holds bytes; int() takes long over thousands of them.
DIGITS_MAX: Final = 18
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
# In the metadata of containers and accounts, and in the system metadata of accounts.
BYTES_KEY: Final = "Quota-Bytes"
COUNT_KEY: Final = "Quota-Count"


class Quota(Struct, frozen=True):
    """The quotas of a container, an account or a policy in it (None: there is none), and what is used of them."""

    bytes: int | None
    count: int | None
    bytes_used: int
    objects: int

    def admits(self, size: int) -> bool:
        """Whether one more object of so many bytes fits."""
        if self.bytes is not None and self.bytes_used + size > self.bytes:
            return False
        return self.count is None or self.objects + 1 <= self.count


class Quotas(Feature):
    """Refuses quotas that are no numbers with 400, those of an account to all but the reseller with 403.

    `admit` refuses uploads beyond a quota with 413.
    """

    methods: ClassVar = frozenset({"PUT", "POST"})
    kinds: ClassVar = frozenset({"account", "container"})

    def __init__(self, context: ProxyContext) -> None:
        self._lookup = context.lookup
        self._policies = context.cluster.policies

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

    def admit(
        self, request: SwiftRequest, path: ResourcePath, container: ContainerInfo, account: AccountInfo, size: int
    ) -> bool:
        """Whether the container has a quota. `size` is what the upload announces, 0 if it announces nothing.

        Raises HttpError 413 if the upload does not fit. One of unknown length gets no more than what is left.
        """
        measured = BYTES_KEY in container.metadata or COUNT_KEY in container.metadata
        if measured:
            quota = quota_of_container(container)
            if request.chunked or not quota.admits(size):
                # What is remembered may be from before a deletion, so look again before refusing: a chunked upload is
                # refused in the middle, when it is too late for that.
                self._lookup.forget_container(path)
                quota = quota_of_container(self._lookup.container(path, request.transaction_id))
            _admit(request, quota, size)
        if request.identity is not None and request.identity.reseller_admin:
            return measured
        if BYTES_KEY in account.metadata or any(key.startswith("Quota-") for key in account.sysmeta):
            for quota in quotas_of_account(account, container.policy_index):
                _admit(request, quota, size)
        return measured


def _admit(request: SwiftRequest, quota: Quota, size: int) -> None:
    if not quota.admits(size):
        raise HttpError(413, EXCEEDED)
    if quota.bytes is not None and request.chunked:
        request.length_max = min(request.length_max, max(quota.bytes - quota.bytes_used, 0))


def parse_quota(text: str | None) -> int | None:
    """A stored quota; None where there is none, or nothing that can be read as one."""
    return int(text) if text and is_quota(text) else None


def is_quota(text: str) -> bool:
    """Whether a client may set this: a whole number."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


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


def quota_of_container(container: ContainerInfo) -> Quota:
    metadata = container.metadata
    return Quota(
        parse_quota(metadata.get(BYTES_KEY)),
        parse_quota(metadata.get(COUNT_KEY)),
        container.bytes_used,
        container.object_count,
    )


def quotas_of_account(account: AccountInfo, policy_index: int) -> Iterator[Quota]:
    """Every quota that an object of this policy has to keep."""
    kept = account.sysmeta
    yield Quota(
        parse_quota(kept.get(BYTES_KEY) or account.metadata.get(BYTES_KEY)),
        parse_quota(kept.get(COUNT_KEY)),
        account.bytes_used,
        account.object_count,
    )
    bytes_quota = parse_quota(kept.get(f"{BYTES_KEY}-Policy-{policy_index}"))
    count_quota = parse_quota(kept.get(f"{COUNT_KEY}-Policy-{policy_index}"))
    if bytes_quota is not None or count_quota is not None:
        use = account.policy_stats.get(policy_index, PolicyStats())
        yield Quota(bytes_quota, count_quota, use.bytes, use.objects)
