"""The names of buckets that exist across accounts: who may be asked for a bucket by name alone.

Each name is an object of the store's own account, and its content names the account that has the bucket. A name is
claimed by a conditional write before the bucket is made, so of all who want it one gets it. It is given back after the
bucket is deleted, unless it was claimed anew meanwhile. A claim whose bucket was never made, because its proxy ended in
between, can be taken over once it is STALE_SECONDS old.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.conditions import WriteConditions
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import GetContainer, made_on_demand
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.info import ABSENT, PRESENT
from objstore.proxy.core.listing import whole
from objstore.proxy.core.lookup import LocalCache
from objstore.proxy.core.objects import DeleteObject, GetObject, PutObject
from objstore.proxy.s3.errors import S3Error
from objstore.system.generations import shared_generations

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

NAMES: Final = ResourcePath(".s3", "buckets")
CLAIM_BYTES_MAX: Final = 4096
STALE_SECONDS: Final = 600.0
ABSENT_SHARE: Final = 0.1


class NameClaim(Struct, frozen=True):
    """Who has a name: an account. nonce: tells two claims of one account apart."""

    account: str
    nonce: str


class StoredClaim(Struct, frozen=True):
    """A claim as it is stored; claim None: nobody has the name. written: in seconds since the epoch."""

    claim: NameClaim | None
    etag: str = ""
    written: float = 0.0

    @property
    def account(self) -> str:
        """Whose the name is; "" of a free one."""
        return "" if self.claim is None else self.claim.account


FREE: Final = StoredClaim(None)
_claim: Final = msgspec.json.Decoder(NameClaim)


class BucketRegistry:
    """The names, as this process remembers them for a while and the store knows them."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects: Final = context.objects
        self._containers: Final = context.containers
        self._lookup: Final = context.lookup
        self._clock: Final = context.runtime.clock
        self._random: Final = context.runtime.random
        self._lifetime: Final = context.config.cache.recheck_container_existence
        self._cache: Final = LocalCache(context.runtime.clock, shared_generations())

    def account_of(self, name: str, transaction_id: str, *, refresh: bool = False) -> str:
        """Whose the name is, at most as old as what is remembered of containers; "" of a free one. Raises CoreError."""
        key = f"bucket/{name}"
        known = None if refresh else self._cache.get(key, StoredClaim)
        if known is None:
            generation = self._cache.generation(key)
            known = self._read(name, transaction_id)
            self._cache.set(key, known, self._lifetime * (1 if known.claim else ABSENT_SHARE), generation)
        return known.account

    def claim(self, name: str, account: str, transaction_id: str) -> None:
        """Have the name for an account, also if it has it already. Raises S3Error BucketAlreadyExists, CoreError."""
        found = self._read(name, transaction_id)
        if found.claim is not None and found.account != account and not self._is_stale(name, found, transaction_id):
            raise S3Error("BucketAlreadyExists", BucketName=name)
        conditions = WriteConditions(if_match=(found.etag,)) if found.claim else WriteConditions(if_absent=True)
        claim = NameClaim(account, f"{self._random.getrandbits(64):016x}")
        content = msgspec.json.encode(claim)
        command = PutObject(
            NAMES.with_object(name),
            self._policy_index(transaction_id),
            self._clock.timestamp(),
            BytesBody(content),
            len(content),
            len(content),
            "application/json",
            conditions=conditions,
            transaction_id=transaction_id,
        )
        try:
            self._objects.put(command)
        except PreconditionFailed:
            # Somebody else was faster: another request of this account, or of another one.
            if self._read(name, transaction_id).account != account:
                raise S3Error("BucketAlreadyExists", BucketName=name) from None
        finally:
            self._cache.invalidate(f"bucket/{name}")

    def held(self, name: str, account: str, transaction_id: str) -> StoredClaim:
        """The claim of an account, FREE if it has none: what `release` gives back. Raises CoreError."""
        found = self._read(name, transaction_id)
        return found if found.account == account else FREE

    def release(self, name: str, claim: StoredClaim, transaction_id: str) -> None:
        """Give a name back, unless it was claimed anew. Raises CoreError."""
        if claim.claim is None:
            return
        conditions = WriteConditions(if_match=(claim.etag,))
        command = DeleteObject(
            NAMES.with_object(name),
            self._policy_index(transaction_id),
            self._clock.timestamp(),
            conditions=conditions,
            transaction_id=transaction_id,
        )
        try:
            self._objects.delete(command)
        except (ObjectNotFound, PreconditionFailed):
            pass
        finally:
            self._cache.invalidate(f"bucket/{name}")

    def _read(self, name: str, transaction_id: str) -> StoredClaim:
        info = self._lookup.container(NAMES, transaction_id)
        if info.existence is ABSENT:
            return FREE
        if info.existence is not PRESENT:
            raise QuorumNotReached(NAMES)
        command = GetObject(NAMES.with_object(name), info.policy_index, newest=True, transaction_id=transaction_id)
        try:
            opened = self._objects.open(command)
        except ObjectNotFound:
            return FREE
        with closing(opened):
            if opened.length is None or opened.length > CLAIM_BYTES_MAX:
                raise QuorumNotReached(command.path)
            claim = _claim.decode(whole(opened.body))
        return StoredClaim(claim, opened.info.etag, float(opened.info.timestamp))

    def _is_stale(self, name: str, found: StoredClaim, transaction_id: str) -> bool:
        """Whether the claim is old, and its account has no such bucket."""
        if self._clock.now() - found.written < STALE_SECONDS:
            return False
        path = ResourcePath(found.account, name)
        try:
            self._containers.head(GetContainer(path, newest=True, transaction_id=transaction_id))
        except ContainerNotFound:
            return True
        return False

    def _policy_index(self, transaction_id: str) -> int:
        """Of the container of names, which is made when the first name is claimed."""
        return made_on_demand(NAMES, self._lookup, self._containers, self._clock, transaction_id)
