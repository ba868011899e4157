"""Quotas of containers and accounts: each upload is weighed against all that it has to keep.

Counts of use lag behind; `objstore.proxy.core.quota_ledger` says what is done about that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.proxy.core.errors import ContainerNotFound, QuorumNotReached, QuotaExceeded
from objstore.proxy.core.info import PRESENT, UNKNOWN, AccountInfo, ContainerInfo, PolicyStats
from objstore.proxy.core.quota_ledger import Allowance, QuotaLedger, Reservation, Usage

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
    from objstore.proxy.core.lookup import Lookup
    from objstore.system.clock import Clock

# More digits than any store holds bytes; int() takes long over thousands of them.
DIGITS_MAX: Final = 18
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


class QuotaUpload(Struct, frozen=True):
    """An upload, or a copy, that a quota may refuse.

    size: what it announces, None for nothing. exempt: quotas of accounts are not for it.
    """

    path: ResourcePath
    container: ContainerInfo
    account: AccountInfo
    size: int | None
    body: BodyReader
    exempt: bool
    transaction_id: str


class QuotaKeeper:
    """Admits uploads; one for each process, so that those of all APIs count."""

    def __init__(self, lookup: Lookup, clock: Clock) -> None:
        self._lookup: Final = lookup
        self._ledger: Final = QuotaLedger(clock)

    @contextmanager
    def reserve(self, upload: QuotaUpload) -> Iterator[BodyReader]:
        """What the upload adds counts until it has ended; the body to read it from.

        One that announces no size is refused in the middle once it is too large. Raises QuotaExceeded if it does not
        fit, and other CoreErrors.
        """
        of_container = quota_of_container(upload.path, upload.container)
        of_account = [] if upload.exempt else self._quotas_of_account(upload)
        if of_container is None and not of_account:
            yield upload.body
            return
        reservation = self._admit(upload, of_account)
        stored = False
        try:
            yield upload.body if upload.size is not None else MeasuredBody(upload.body, reservation)
            stored = True
        finally:
            reservation.end(stored=stored)
            # The next upload is measured against a container that has this one.
            self._lookup.forget_container(upload.path)

    def _quotas_of_account(self, upload: QuotaUpload) -> list[Quota]:
        account = upload.account
        if BYTES_KEY in account.metadata or any(key.startswith("Quota-") for key in account.sysmeta):
            return list(quotas_of_account(upload.path.account, account, upload.container.policy_index))
        return []

    def _admit(self, upload: QuotaUpload, of_account: Sequence[Quota]) -> Reservation:
        path, size = upload.path, upload.size
        ledger, key = self._ledger, str(path.container_path)
        tally, added = ledger.tally(key), Usage(size or 0, 1)
        allowances = self._allowances(path, upload.container, of_account, tally.counted)
        if size is None or any(allowance.exceeded(added) for allowance in allowances):
            # What is remembered may be from before a deletion, so look again before refusing: an upload of unknown
            # length is refused in the middle, when it is too late for that.
            mark = tally.finished
            self._lookup.forget_container(path)
            found = self._lookup.container(path, upload.transaction_id)
            if found.existence is not PRESENT:
                raise QuorumNotReached(path) if found.existence is UNKNOWN else ContainerNotFound(path)
            tally.counted = tally.counted.or_more(mark)
            allowances = self._allowances(path, found, of_account, mark)
            if any(allowance.exceeded(added) for allowance in allowances):
                raise QuotaExceeded
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
        """As the body's own. Raises QuotaExceeded once it is too large."""
        content = self._body.read(size)
        self._extend(len(content))
        return content

    def readinto(self, buffer: memoryview, within_seconds: float | None = None) -> int:
        """As the body's own. Raises QuotaExceeded once it is too large."""
        count = self._body.readinto(buffer, within_seconds)
        self._extend(count)
        return count

    def _extend(self, count: int) -> None:
        if not count:
            self.trailers = self._body.trailers
        elif not self._reservation.extend(count):
            raise QuotaExceeded


def parse_quota(text: str | None) -> int | None:
    """A stored quota; None where there is none, or nothing that can be read as one."""
    return int(text) if text and is_quota(text) else None


def is_quota(text: str) -> bool:
    """Whether a client may set this: a whole number."""
    return text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX


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
