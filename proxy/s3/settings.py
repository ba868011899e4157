"""What a bucket's owner has set, as documents: kept in the container's system metadata or, where long, as an object.

What is long lies in the store's own account, and the container's metadata names it. It gets a new name each time and is
stored before the metadata names it, so a setting is always the old one or the new one, and whole.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.containers import WriteContainer, made_on_demand
from objstore.proxy.core.errors import ObjectNotFound, QuorumNotReached
from objstore.proxy.core.listing import whole
from objstore.proxy.core.objects import DeleteObject, GetObject, PutObject
from objstore.proxy.s3.buckets import Bucket

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

DOCUMENTS: Final = ResourcePath(".s3", "settings")
DOCUMENT_BYTES_MAX: Final = 128 * 1024
# Encoded, in one header beside those of the bucket's other settings.
INLINE_LENGTH_MAX: Final = 2048
LONG_DOCUMENTS_MAX: Final = 256
_REFERENCE: Final = "@"
_PREFIX: Final = "S3-"


class BucketSettings:
    """Reads and writes settings, each under a name of its own."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects: Final = context.objects
        self._containers: Final = context.containers
        self._lookup: Final = context.lookup
        self._clock: Final = context.runtime.clock
        self._long: OrderedDict[ResourcePath, bytes] = OrderedDict()  # what lies there never changes

    @staticmethod
    def is_set(bucket: Bucket, name: str) -> bool:
        """Whether there is such a document, by what is known of the bucket."""
        return _PREFIX + name in bucket.info.sysmeta

    def read(self, bucket: Bucket, name: str, transaction_id: str) -> bytes | None:
        """The document as it was written, None if there is none. Raises CoreError."""
        kept = bucket.info.sysmeta.get(_PREFIX + name)
        if not kept:
            return None
        if not kept.startswith(_REFERENCE):
            return _inflated(kept)
        place = _place(bucket.path, kept)
        found = self._long.get(place)
        if found is None:
            found = self._long[place] = self._read_long(place, transaction_id)
            if len(self._long) > LONG_DOCUMENTS_MAX:
                self._long.popitem(last=False)
        return found

    def write(
        self,
        bucket: Bucket,
        changes: Mapping[str, bytes | None],
        transaction_id: str,
        *,
        read_acl: str | None = None,
        write_acl: str | None = None,
    ) -> None:
        """Store documents, or remove those that are None, and lists of the Swift API with them. Raises CoreError."""
        command = WriteContainer(
            bucket.path,
            self._clock.timestamp(),
            sysmeta=self.encoded(bucket.path, changes, transaction_id),
            read_acl=read_acl,
            write_acl=write_acl,
            transaction_id=transaction_id,
        )
        self._containers.post(command)
        self.forget_long(bucket, changes, transaction_id)

    def encoded(self, path: ResourcePath, changes: Mapping[str, bytes | None], transaction_id: str) -> dict[str, str]:
        """The system metadata that says the same; long documents are stored now. Raises CoreError."""
        found = {}
        for name, content in changes.items():
            value = "" if content is None else _deflated(content)
            if content is not None and len(value) > INLINE_LENGTH_MAX:
                value = self._store_long(path, content, transaction_id)
            found[_PREFIX + name] = value
        return found

    def forget_long(self, bucket: Bucket, changes: Mapping[str, bytes | None], transaction_id: str) -> None:
        """Delete the long documents that the bucket had under these names. Raises CoreError."""
        for name in changes:
            kept = bucket.info.sysmeta.get(_PREFIX + name, "")
            if kept.startswith(_REFERENCE):
                command = DeleteObject(
                    _place(bucket.path, kept),
                    self._policy_index(transaction_id),
                    self._clock.timestamp(),
                    transaction_id=transaction_id,
                )
                try:
                    self._objects.delete(command)
                except ObjectNotFound:
                    pass

    def names_of(self, bucket: Bucket) -> dict[str, None]:
        """All that are set, as changes that remove them."""
        return {key.removeprefix(_PREFIX): None for key in bucket.info.sysmeta if key.startswith(_PREFIX)}

    def _store_long(self, path: ResourcePath, content: bytes, transaction_id: str) -> str:
        timestamp = self._clock.timestamp()
        reference = _REFERENCE + timestamp.internal
        command = PutObject(
            _place(path, reference),
            self._policy_index(transaction_id),
            timestamp,
            BytesBody(content),
            len(content),
            len(content),
            "application/octet-stream",
            transaction_id=transaction_id,
        )
        self._objects.put(command)
        return reference

    def _read_long(self, place: ResourcePath, transaction_id: str) -> bytes:
        command = GetObject(place, self._policy_index(transaction_id), transaction_id=transaction_id)
        try:
            opened = self._objects.open(command)
        except ObjectNotFound:
            # A setting that cannot be read is none that may be ignored: it could deny something.
            raise QuorumNotReached(command.path) from None
        with closing(opened):
            if opened.length is None or opened.length > DOCUMENT_BYTES_MAX:
                raise QuorumNotReached(command.path)
            return whole(opened.body)

    def _policy_index(self, transaction_id: str) -> int:
        """Of the container of long documents, which is made when the first one is stored."""
        return made_on_demand(DOCUMENTS, self._lookup, self._containers, self._clock, transaction_id)


def _place(path: ResourcePath, reference: str) -> ResourcePath:
    """Where a long document of a bucket lies."""
    return DOCUMENTS.with_object(f"{sha256(str(path).encode()).hexdigest()}/{reference[len(_REFERENCE) :]}")


def _deflated(content: bytes) -> str:
    return b64encode(zlib.compress(content, 9)).decode()


@lru_cache(maxsize=4096)
def _inflated(kept: str) -> bytes:
    return zlib.decompress(b64decode(kept))
