"""Objects as clients store them: limits, stamps, and what is said when a condition does not hold."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

import msgspec

from objstore.conditions import WriteConditions
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.core.checksums import WantedChecksums
from objstore.proxy.core.containers import WriteContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.encryption.settings import is_marked, setting
from objstore.proxy.core.errors import ChecksumMismatch, ObjectNotFound, PreconditionFailed
from objstore.proxy.core.info import StoredMetadata
from objstore.proxy.core.objects import (
    CopyObject,
    DeleteObject,
    GetObject,
    ObjectOperations,
    OpenedObject,
    PutObject,
    PutResult,
)
from objstore.proxy.core.quorum_request import SMALL_BODY_MAX
from objstore.proxy.core.quotas import QuotaUpload
from objstore.proxy.core.upload_commands import CompleteUpload
from objstore.proxy.s3.encryption import asks_to_encrypt, wanted_seal
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import bad_digest, expected_md5
from objstore.proxy.s3.handlers.conditions import precondition_failed
from objstore.proxy.s3.handlers.metadata import STORAGE_CLASS
from objstore.proxy.s3.object_lock import lock_of_new
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.storage_classes import ClassPolicies
from objstore.system.clock import Clock
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.http.messages import BodyReader
    from objstore.proxy.core.encryption.envelope import CustomerKey, Seal
    from objstore.proxy.s3.access import Authorizer, Place

_UNLIMITED: Final = nullcontext()
_NO_BODY: Final = BytesBody(b"")
OBJECT_BYTES_MAX: Final = 5 * 1024**3


class ObjectWriter:
    """Stores objects; what goes wrong are S3Errors and CoreErrors."""

    def __init__(self, context: ProxyContext, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._lookup = context.lookup
        self._quotas = context.quotas
        self._objects = context.objects
        self._containers = context.containers
        self.keys: Final = context.keys
        self._clock = context.runtime.clock
        self.classes: Final = ClassPolicies(context.config.s3, context.cluster.policies)
        self.bytes_max: Final = min(context.cluster.limits.max_file_size, OBJECT_BYTES_MAX)

    def command(
        self,
        request: S3Request,
        place: Place,
        *,
        length: int | None,
        content_type: str,
        metadata: StoredMetadata,
        checksums: WantedChecksums | None,
        conditions: WriteConditions | None = None,
    ) -> PutObject:
        """The command that stores the body of a request, with grants and lock. Raises S3Error, CoreError."""
        if length is not None and length > self.bytes_max:
            raise S3Error("EntityTooLarge", ProposedSize=length, MaxSizeAllowed=self.bytes_max)
        more = self._authorizer.wanted_grants(request, place)
        more |= lock_of_new(request, place, self._authorizer, self._clock.now())
        if more:
            metadata = msgspec.structs.replace(metadata, transient=metadata.transient | more)
        if STORAGE_CLASS in metadata.system:
            name = metadata.system[STORAGE_CLASS]
            self.classes.check(name, place.container.policy_index)
            if checksums is not None:
                checksums = msgspec.structs.replace(checksums, fields={"storage_class": name})
        container, environ = place.container, request.environ
        seal, key = self.seal(request, place)
        ask_first = conditions is not None and "HTTP_EXPECT" in environ
        body = request.body
        if length is not None and length <= SMALL_BODY_MAX and not ask_first:
            # At hand, to be sent once more if need be. Also nothing is read to its end: there may be trailers.
            body = BytesBody(body.read())
        return PutObject(
            path=place.path,
            policy_index=container.policy_index,
            timestamp=self._clock.timestamp(),
            body=body,
            length=length,
            length_max=self.bytes_max,
            content_type=content_type,
            metadata=metadata,
            expected_md5=expected_md5(environ),
            conditions=conditions,
            ask_first=ask_first,
            version_mode=container.version_mode if container.sysmeta else "",
            checksums=checksums,
            transaction_id=request.transaction_id,
            seal=seal,
            customer_key=key,
        )

    def seal(self, request: S3Request, place: Place) -> tuple[Seal | None, CustomerKey | None]:
        """How what a request stores is encrypted, and with which key of its sender's. Raises S3Error, CoreError.

        The bucket is marked before the first encrypted object is in it.
        """
        container, environ = place.container, request.environ
        if not container.sysmeta and not asks_to_encrypt(environ):
            return None, None
        seal, key = wanted_seal(environ, container, self.keys)
        if seal is not None and not is_marked(container):
            path, identifier = place.path.container_path, request.transaction_id
            marked = WriteContainer(path, self._clock.timestamp(), sysmeta=setting(None), transaction_id=identifier)
            self._containers.post(marked)
        return seal, key

    def put(self, command: PutObject) -> PutResult:
        """Store the body. Where something newer is stored, a body at hand gets a newer stamp.

        A longer one was overwritten while it came in: it is as if the other write had come afterwards.
        """
        try:
            with self.admitted(command.path, command.length, command.transaction_id, command.body) as body:
                # What announces no length is measured as it comes in.
                measured = command.length is None and body is not None
                stored = self._objects.put(msgspec.structs.replace(command, body=body) if measured else command)
            if stored.superseded and isinstance(command.body, BytesBody):
                command = msgspec.structs.replace(
                    command, timestamp=newer_timestamp(self._objects, self._clock, command), body=command.body.again()
                )
                stored = self._objects.put(command)
            return stored
        except PreconditionFailed:
            raise refused_condition(self._objects, command) from None
        except ChecksumMismatch as error:
            raise bad_digest(error.algorithm) from None

    def copy(self, source: OpenedObject, command: PutObject) -> PutResult:
        """Store the bytes of another object, which is closed."""
        try:
            with self.admitted(command.path, command.length, command.transaction_id):
                return self._objects.copy(CopyObject(source, command))
        except PreconditionFailed:
            raise refused_condition(self._objects, command) from None

    def admitted(
        self, path: ResourcePath, size: int | None, transaction_id: str, body: BodyReader = _NO_BODY
    ) -> AbstractContextManager[BodyReader | None]:
        """While it is entered, quotas count so much more: what gives the body to be read, None where none are set.

        Entering it raises QuotaExceeded, CoreError; reading a body without a size raises QuotaExceeded.
        """
        container, account = self._lookup.container_and_account(path, transaction_id)
        if not (container.metadata or account.metadata or account.sysmeta):
            return _UNLIMITED
        return self._quotas.reserve(QuotaUpload(path, container, account, size, body, False, transaction_id))


def newer_timestamp(objects: ObjectOperations, clock: Clock, command: PutObject | DeleteObject) -> Timestamp:
    """A stamp for a write that has met something newer: the clocks of two proxies differ."""
    read = GetObject(command.path, command.policy_index, newest=True, transaction_id=command.transaction_id)
    try:
        newest = objects.head(read).timestamp
    except ObjectNotFound as error:
        newest = error.deleted_at
    return max(clock.timestamp(), Timestamp(Timestamp.parse(newest).ticks + 1 if newest else 0))


def refused_condition(objects: ObjectOperations, command: PutObject | CompleteUpload) -> S3Error:
    """Why a condition does not hold: who expects an object where there is none is told so."""
    conditions = command.conditions
    if conditions is not None and conditions.if_match:
        read = GetObject(command.path, command.policy_index, newest=True, transaction_id=command.transaction_id)
        try:
            objects.head(read)
        except ObjectNotFound:
            return S3Error("NoSuchKey", Key=command.path.object)
    return precondition_failed(conditions)


def body_length(request: S3Request) -> int:
    """The length that is announced. Raises S3Error MissingContentLength."""
    length = request.content_length
    if length is None:
        raise S3Error("MissingContentLength")
    return length
