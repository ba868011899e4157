"""Quotas of containers, which their owners set, and of accounts, which the reseller sets.

    X-Container-Meta-Quota-Bytes, X-Container-Meta-Quota-Count
    X-Account-Quota-Bytes, X-Account-Quota-Count
    X-Account-Quota-Bytes-Policy-<policy>, X-Account-Quota-Count-Policy-<policy>
    X-Account-Meta-Quota-Bytes      the oldest spelling of an account's first

Those of accounts are kept as system metadata, those of policies by index, since a policy's name may change. Counts of
use lag behind; `objstore.proxy.core.quota_ledger` says what is done about that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

from msgspec import Struct

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.paths import ResourcePath
from objstore.policies import Policies, UnknownPolicy
from objstore.proxy.core.errors import ContainerNotFound, QuorumNotReached
from objstore.proxy.core.info import PRESENT, UNKNOWN, AccountInfo, ContainerInfo, PolicyStats
from objstore.proxy.core.quota_ledger import Allowance, QuotaLedger, Reservation, Usage
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
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
    """The quotas of a container, an account or a policy in it (None: there is none), and its use by its servers.

    key: of its tally.
    """

    key: str
    bytes: int | None
    count: int | None
    counted: Usage


class Quotas(Feature):
    """Refuses quotas that are no numbers with 400, those of an account to all but the reseller with 403.

    `reserve` refuses uploads beyond a quota with 413.
    """

    methods: ClassVar = frozenset({"PUT", "POST"})
    kinds: ClassVar = frozenset({"account", "container"})

    def __init__(self, context: ProxyContext) -> None:
        self._lookup = context.lookup
        self._policies = context.cluster.policies
        self._ledger = QuotaLedger(context.runtime.clock)

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

    @contextmanager
    def reserve(
        self,
        request: SwiftRequest,
        path: ResourcePath,
        container: ContainerInfo,
        account: AccountInfo,
        size: int | None,
    ) -> Iterator[BodyReader]:
        """What the upload adds counts until it has ended; the body to read it from.

        `size` is what it announces; one that announces nothing is refused in the middle once it is too large. Raises
        HttpError 413 if it does not fit, and CoreError.
        """
        of_container = quota_of_container(path, container)
        of_account = self._quotas_of_account(request, path.account, container, account)
        if of_container is None and not of_account:
            yield request.body
            return
        reservation = self._admit(request, path, container, of_account, size)
        stored = False
        try:
            yield request.body if size is not None else MeasuredBody(request.body, reservation)
            stored = True
        finally:
            reservation.end(stored=stored)
            # The next upload is measured against a container that has this one.
            self._lookup.forget_container(path)

    def _quotas_of_account(
        self, request: SwiftRequest, name: str, container: ContainerInfo, account: AccountInfo
    ) -> list[Quota]:
        if request.identity is not None and request.identity.reseller_admin:
            return []
        if BYTES_KEY in account.metadata or any(key.startswith("Quota-") for key in account.sysmeta):
            return list(quotas_of_account(name, account, container.policy_index))
        return []

    def _admit(
        self,
        request: SwiftRequest,
        path: ResourcePath,
        container: ContainerInfo,
        of_account: Sequence[Quota],
        size: int | None,
    ) -> Reservation:
        ledger, key = self._ledger, str(path.container_path)
        tally, added = ledger.tally(key), Usage(size or 0, 1)
        allowances = self._allowances(path, container, of_account, tally.counted)
        if size is None or any(allowance.exceeded(added) for allowance in allowances):
            # What is remembered may be from before a deletion, so look again before refusing: an upload of unknown
            # length is refused in the middle, when it is too late for that.
            mark = tally.finished
            self._lookup.forget_container(path)
            found = self._lookup.container(path, request.transaction_id)
            if found.existence is not PRESENT:
                raise QuorumNotReached(path) if found.existence is UNKNOWN else ContainerNotFound(path)
            tally.counted = tally.counted.or_more(mark)
            allowances = self._allowances(path, found, of_account, mark)
            if any(allowance.exceeded(added) for allowance in allowances):
                raise HttpError(413, EXCEEDED)
        return Reservation(key, [tally, *(ledger.tally(quota.key) for quota in of_account)], allowances, size or 0)

    def _allowances(
        self, path: ResourcePath, container: ContainerInfo, of_account: Sequence[Quota], mark: Usage
    ) -> list[Allowance]:
        """`mark`: what had been finished in the container when it was described."""
        ledger, key = self._ledger, str(path.container_path)
        tally, counted = ledger.tally(key), usage_of(container)
        now, found = counted + (tally.finished - mark), []
        for quota in of_account:
            its = ledger.tally(quota.key)
            use = ledger.account_use(its, quota.counted, key, now)
            found.append(Allowance(quota.bytes, quota.count, its, use, its.finished))
        own = quota_of_container(path, container)
        if own is not None:
            found.append(Allowance(own.bytes, own.count, tally, counted, mark))
        return found


class MeasuredBody:
    """A body of unknown length, for which more is reserved as it comes in."""

    def __init__(self, body: BodyReader, reservation: Reservation) -> None:
        self._body = body
        self._reservation = reservation
        self.trailers = body.trailers

    def read(self, size: int = -1) -> bytes:
        """As the body's own. Raises HttpError 413 once it is too large."""
        content = self._body.read(size)
        self._extend(len(content))
        return content

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """As the body's own. Raises HttpError 413 once it is too large."""
        count = self._body.readinto(buffer, within_seconds)
        self._extend(count)
        return count

    def _extend(self, count: int) -> None:
        if not count:
            self.trailers = self._body.trailers
        elif not self._reservation.extend(count):
            raise HttpError(413, EXCEEDED)


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


def usage_of(info: ContainerInfo | AccountInfo) -> Usage:
    return Usage(info.bytes_used, info.object_count)


def quota_of_container(path: ResourcePath, container: ContainerInfo) -> Quota | None:
    metadata = container.metadata
    if BYTES_KEY not in metadata and COUNT_KEY not in metadata:
        return None
    byte_quota, count_quota = parse_quota(metadata.get(BYTES_KEY)), parse_quota(metadata.get(COUNT_KEY))
    return Quota(str(path.container_path), byte_quota, count_quota, usage_of(container))


def quotas_of_account(name: str, account: AccountInfo, policy_index: int) -> Iterator[Quota]:
    """Every quota that an object of this policy has to keep."""
    kept = account.sysmeta
    yield Quota(
        name,
        parse_quota(kept.get(BYTES_KEY) or account.metadata.get(BYTES_KEY)),
        parse_quota(kept.get(COUNT_KEY)),
        usage_of(account),
    )
    byte_quota = parse_quota(kept.get(f"{BYTES_KEY}-Policy-{policy_index}"))
    count_quota = parse_quota(kept.get(f"{COUNT_KEY}-Policy-{policy_index}"))
    if byte_quota is not None or count_quota is not None:
        use = account.policy_stats.get(policy_index, PolicyStats())
        yield Quota(f"{name} policy {policy_index}", byte_quota, count_quota, Usage(use.bytes, use.objects))
