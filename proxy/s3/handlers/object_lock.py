"""Object lock: of buckets ?object-lock, of versions ?retention and ?legal-hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from objstore.http.messages import Response
from objstore.object_lock import LOCK_HOLD, LOCK_RETENTION, NO_RETENTION
from objstore.proxy.core.containers import GetContainer, WriteContainer
from objstore.proxy.core.errors import NewerStored, ObjectNotFound
from objstore.proxy.core.info import LOCKABLE, OBJECT_LOCK, StoredMetadata
from objstore.proxy.core.objects import PostObject
from objstore.proxy.core.versions import NULL
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.buckets import xml_response
from objstore.proxy.s3.handlers.checksums import check_setting
from objstore.proxy.s3.handlers.reading import ObjectReader, version_headers
from objstore.proxy.s3.handlers.tagging import stored_object
from objstore.proxy.s3.object_lock import (
    MISSING,
    check_lockable,
    default_element,
    received_default,
    received_hold,
    received_retention,
    until_date,
)
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.xml import Element, MalformedDocument, ReceivedElement

if TYPE_CHECKING:
    from objstore.proxy.core.info import StoredObjectInfo
    from objstore.proxy.s3.access import Place
    from objstore.proxy.s3.application import Handler

T = TypeVar("T")


class ObjectLockHandler:
    """Reads and changes what protects versions. Object servers decide, by what they hold, whether a change may be."""

    def __init__(self, context: S3Context, reader: ObjectReader) -> None:
        proxy = context.proxy
        self._authorizer: Final = context.authorizer
        self._reader: Final = reader
        self._objects: Final = proxy.objects
        self._containers: Final = proxy.containers
        self._policies: Final = proxy.cluster.policies
        self._clock: Final = proxy.runtime.clock

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {
            Operation.GET_OBJECT_LOCK_CONFIGURATION: self.configuration,
            Operation.PUT_OBJECT_LOCK_CONFIGURATION: self.put_configuration,
            Operation.GET_OBJECT_RETENTION: self.retention,
            Operation.PUT_OBJECT_RETENTION: self.put_retention,
            Operation.GET_OBJECT_LEGAL_HOLD: self.hold,
            Operation.PUT_OBJECT_LEGAL_HOLD: self.put_hold,
        }

    def configuration(self, request: S3Request) -> Response:
        """200, 404 ObjectLockConfigurationNotFoundError."""
        info = request.container.info
        if not info.is_lockable:
            raise S3Error("ObjectLockConfigurationNotFoundError", BucketName=request.bucket)
        return xml_response(default_element(info.default_retention))

    def put_configuration(self, request: S3Request) -> Response:
        """200, 409 InvalidBucketState for a bucket that keeps no versions."""
        default, bucket = _received(request, "ObjectLockConfiguration", received_default), request.container
        info = self._containers.head(GetContainer(bucket.path, newest=True, transaction_id=request.transaction_id))
        if info.versioning != "enabled":
            reason = "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
            raise S3Error("InvalidBucketState", reason)
        check_lockable(self._policies.by_index(info.policy_index).is_strong)
        command = WriteContainer(
            bucket.path,
            self._clock.timestamp(),
            sysmeta={OBJECT_LOCK: LOCKABLE if default is None else default.stored},
            transaction_id=request.transaction_id,
        )
        self._containers.post(command)
        return Response(200)

    def retention(self, request: S3Request) -> Response:
        """200, 404 NoSuchObjectLockConfiguration."""
        place, info = self._found(request)
        found = info.metadata.lock.retention
        if found is None:
            raise S3Error("NoSuchObjectLockConfiguration")
        root = Element("Retention")
        root.add("Mode", found.mode)
        root.add("RetainUntilDate", until_date(found))
        return xml_response(root, version_headers(place.container, info.version))

    def put_retention(self, request: S3Request) -> Response:
        """200, 403 where the present one may not be made shorter."""
        now = self._clock.now()
        wanted = _received(request, "Retention", lambda root: received_retention(root, now))
        return self._change(request, {LOCK_RETENTION: NO_RETENTION if wanted is None else wanted.stored})

    def hold(self, request: S3Request) -> Response:
        """200, 404 NoSuchObjectLockConfiguration."""
        place, info = self._found(request)
        if LOCK_HOLD not in info.metadata.transient:
            raise S3Error("NoSuchObjectLockConfiguration")
        root = Element("LegalHold")
        root.add("Status", info.metadata.transient[LOCK_HOLD])
        return xml_response(root, version_headers(place.container, info.version))

    def put_hold(self, request: S3Request) -> Response:
        """200."""
        return self._change(request, {LOCK_HOLD: _received(request, "LegalHold", received_hold)})

    def _found(self, request: S3Request) -> tuple[Place, StoredObjectInfo]:
        """The version that a request is about, in a bucket with object lock. Raises S3Error, CoreError."""
        place = self._authorizer.place(request)
        if not place.container.is_lockable:
            raise S3Error("InvalidRequest", MISSING)
        return place, stored_object(request, place, self._reader)

    def _change(self, request: S3Request, changes: dict[str, str]) -> Response:
        place, info = self._found(request)
        version = info.version or NULL
        identifier = request.params.get("versionId", "")
        command = PostObject(
            path=place.path,
            policy_index=place.container.policy_index,
            timestamp=self._clock.timestamp(),
            metadata=StoredMetadata(transient=changes),
            open_expired=True,
            version=version,
            merges=True,
            bypasses_governance=self._authorizer.bypasses_governance(request, place, identifier),
            transaction_id=request.transaction_id,
        )
        try:
            self._objects.post(command)
        except NewerStored:
            raise S3Error("SlowDown") from None
        except ObjectNotFound:
            if not identifier:
                raise
            raise S3Error("NoSuchVersion", Key=request.key, VersionId=identifier) from None
        return Response(200)


def _received(request: S3Request, name: str, read: Callable[[ReceivedElement], T]) -> T:
    """What the document of a request says. Raises S3Error."""
    content = request.content()
    check_setting(request, content)
    try:
        return read(parsed(content, name))
    except MalformedDocument as error:
        raise S3Error("MalformedXML", str(error)) from None
