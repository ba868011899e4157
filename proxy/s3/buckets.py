"""Buckets: which container a name means, for whom.

A bucket is a container. A user's own containers come first, whether the S3 API or the Swift API has made them; any
other name means the bucket of the account to which the registry gives it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.proxy.auth.identity import Identity
from objstore.proxy.core.errors import QuorumNotReached
from objstore.proxy.core.info import PRESENT, UNKNOWN, ContainerInfo, is_read_only
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.registry import BucketRegistry

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext
    from objstore.proxy.s3.request import S3Request

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
_ADDRESS: Final = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
_RESERVED_BEGINNINGS: Final = ("xn--", "sthree-")
_RESERVED_ENDS: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


class Bucket(Struct, frozen=True):
    """A bucket: the container that it is, as the servers describe it."""

    path: ResourcePath
    info: ContainerInfo

    @property
    def name(self) -> str:
        return self.path.container

    @property
    def owner(self) -> str:
        """The account in which it lies."""
        return self.path.account


class Buckets:
    """Finds buckets; one for each process."""

    def __init__(self, context: ProxyContext) -> None:
        self.registry: Final = BucketRegistry(context)
        self._lookup: Final = context.lookup
        self._read_only: Final = context.config.read_only
        self._longest: Final = context.cluster.limits.max_container_name_length

    def find(self, name: str, identity: Identity | None, transaction_id: str) -> Bucket:
        """The bucket that a name means to somebody. Raises S3Error NoSuchBucket, CoreError."""
        if len(name.encode()) > self._longest:
            raise S3Error("NoSuchBucket", BucketName=name)
        if identity is not None:
            path = ResourcePath(identity.account, name)
            info = self._container(path, transaction_id)
            if info.existence is PRESENT:
                return Bucket(path, info)
        for refresh in (False, True):
            owner = self.registry.account_of(name, transaction_id, refresh=refresh)
            if not owner or (identity is not None and owner == identity.account):
                break
            path = ResourcePath(owner, name)
            info = self._container(path, transaction_id)
            if info.existence is PRESENT:
                return Bucket(path, info)
            # What is remembered may be from before the name went to another account.
        raise S3Error("NoSuchBucket", BucketName=name)

    def publish(self, bucket: Bucket, transaction_id: str) -> None:
        """Have others find a bucket by its name, also if the Swift API has made it. Raises S3Error, CoreError."""
        if self.registry.account_of(bucket.name, transaction_id) != bucket.owner:
            self.registry.claim(bucket.name, bucket.owner, transaction_id)

    def check_writable(self, request: S3Request, operation: Operation, account: str) -> None:
        """Raises S3Error MethodNotAllowed for a write to an account that is read-only."""
        config, deletes = self._read_only, request.method == "DELETE" or operation is Operation.DELETE_OBJECTS
        if not config.enabled or request.method in ("GET", "HEAD") or (deletes and config.allow_deletes):
            return
        if is_read_only(config, self._lookup.account(account, request.transaction_id)):
            raise S3Error("MethodNotAllowed", "Writes are disabled for this account.")

    def _container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo:
        info = self._lookup.container(path, transaction_id)
        if info.existence is UNKNOWN:
            raise QuorumNotReached(path)
        return info


def check_new_name(name: str) -> None:
    """Raises S3Error InvalidBucketName unless a new bucket may be called so.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    """
    good = (
        _NAME.fullmatch(name)
        and ".." not in name
        and not _ADDRESS.fullmatch(name)
        and not name.startswith(_RESERVED_BEGINNINGS)
        and not name.endswith(_RESERVED_ENDS)
    )
    if not good:
        raise S3Error("InvalidBucketName", BucketName=name)
