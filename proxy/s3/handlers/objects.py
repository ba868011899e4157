"""Objects: GET, HEAD, PUT and DELETE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.http.conditional import range_applies
from objstore.http.messages import Environ, Response
from objstore.http.ranges import ByteRange
from objstore.proxy.core.checksums import stored_checksums
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import InvalidRange, NotModified
from objstore.proxy.core.info import ContainerInfo, StoredObjectInfo
from objstore.proxy.core.objects import GetObject
from objstore.proxy.s3.encryption import asks_to_encrypt, customer_key, require_key, seal_headers, written_headers
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import checksum_headers, told_checksums, type_of, wanted_checksums
from objstore.proxy.s3.handlers.conditions import read_conditions, write_conditions
from objstore.proxy.s3.handlers.metadata import OVERRIDES, content_type_of, metadata_of, object_headers
from objstore.proxy.s3.handlers.reading import (
    ObjectReader,
    asked_range,
    part_number,
    range_within,
    version_asked,
    version_headers,
)
from objstore.proxy.s3.handlers.writing import ObjectWriter, body_length
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer, Place
    from objstore.proxy.s3.application import Handler
    from objstore.proxy.s3.handlers.deletions import ObjectDeleter
    from objstore.proxy.s3.lifecycle.headers import LifecycleHeaders


class S3ObjectHandler:
    """Reads, stores and deletes one object."""

    def __init__(
        self,
        context: ProxyContext,
        authorizer: Authorizer,
        reader: ObjectReader,
        writer: ObjectWriter,
        deleter: ObjectDeleter,
        lifecycle: LifecycleHeaders,
    ) -> None:
        self._authorizer = authorizer
        self._reader = reader
        self._writer = writer
        self._deleter = deleter
        self._lifecycle = lifecycle
        self._now = context.runtime.clock.now
        self._keys = context.keys

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {
            Operation.GET_OBJECT: self.get,
            Operation.HEAD_OBJECT: self.head,
            Operation.PUT_OBJECT: self.put,
            Operation.DELETE_OBJECT: self.delete,
        }

    def get(self, request: S3Request) -> Response:
        """200, 206, 304."""
        place = self._authorizer.place(request)
        command = self._command(request, place)
        try:
            reading = self._reader.open(request, command, part_number(request) if request.params else None)
        except NotModified as error:
            return _not_modified(place.container, error.info)
        opened = reading.opened
        headers = _headers(request, place.container, opened.info) | self._expiration(request, place, opened.info)
        headers |= seal_headers(opened.info.seal, command.customer_key, self._keys)
        if reading.parts_count:
            headers["x-amz-mp-parts-count"] = str(reading.parts_count)
        if opened.part is None:
            headers |= told_checksums(request.environ, opened.info)
            return Response(200, headers, opened.body)
        if reading.part is not None and reading.part.checksums:
            headers |= _part_checksums(request.environ, opened.info, reading.part.checksums)
        headers["Content-Range"] = opened.part.content_range(opened.info.size)
        return Response(206, headers, opened.body)

    def head(self, request: S3Request) -> Response:
        """As GET, without the body."""
        if request.params and "partNumber" in request.params:
            response = self.get(request)
            headers = response.headers
            headers["Content-Length"] = str(
                len(response.body) if isinstance(response.body, bytes) else response.body.length
            )
            response.close()
            return Response(response.status, headers)
        place = self._authorizer.place(request)
        command = self._command(request, place)
        try:
            info = self._reader.head(request, command)
            wanted = self._asked(command, info)
        except NotModified as error:
            return _not_modified(place.container, error.info)
        headers = _headers(request, place.container, info) | self._expiration(request, place, info)
        if info.seal is not None:
            require_key(info.seal, command.customer_key, place.path)
            headers |= seal_headers(info.seal, command.customer_key, self._keys)
        if wanted is None:
            headers |= told_checksums(request.environ, info)
            headers["Content-Length"] = str(info.size)
            return Response(200, headers)
        headers["Content-Range"] = wanted.content_range(info.size)
        headers["Content-Length"] = str(wanted.length)
        return Response(206, headers)

    def _expiration(self, request: S3Request, place: Place, info: StoredObjectInfo) -> dict[str, str]:
        """When the object expires that is current: older versions do not."""
        if not place.container.sysmeta or "versionId" in request.params:
            return {}
        return self._lifecycle.of_read(place, info, request.transaction_id)

    def _asked(self, command: GetObject, info: StoredObjectInfo) -> ByteRange | None:
        """The range that a HEAD asks for. Raises S3Error InvalidRange."""
        validator = None if command.conditions is None else command.conditions.if_range
        if not command.ranges or not range_applies(lambda _name: validator, info.etag, info.last_modified):
            return None
        try:
            return range_within(command.ranges, info)
        except InvalidRange:
            raise S3Error("InvalidRange", headers={"Content-Range": f"bytes */{info.size}"}) from None

    def _command(self, request: S3Request, place: Place) -> GetObject:
        environ = request.environ
        encrypts = asks_to_encrypt(environ)
        if encrypts and "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION" in environ:
            reason = "x-amz-server-side-encryption header is not supported for this operation."
            raise S3Error("InvalidArgument", reason, ArgumentName="x-amz-server-side-encryption")
        version = version_asked(request) if request.params else ""
        return GetObject(
            path=place.path,
            policy_index=place.container.policy_index,
            ranges=asked_range(environ),
            conditions=read_conditions(environ, self._now()),
            open_expired=bool(version),
            version=version,
            transaction_id=request.transaction_id,
            customer_key=customer_key(environ) if encrypts else None,
        )

    def put(self, request: S3Request) -> Response:
        """200."""
        place = self._authorizer.place(request)
        environ = request.environ
        length = None if request.operation is Operation.POST_OBJECT else body_length(request)
        conditions = write_conditions(environ)
        command = self._writer.command(
            request,
            place,
            length=length,
            content_type=content_type_of(environ),
            metadata=metadata_of(environ),
            checksums=wanted_checksums(request),
            conditions=conditions,
        )
        stored = self._writer.put(command)
        headers = {"ETag": f'"{stored.etag}"', **checksum_headers(stored.checksums)}
        headers |= written_headers(stored.seal, command.customer_key, self._keys)
        if stored.version:
            headers |= version_headers(place.container, stored.version)
        if place.container.sysmeta:
            transient = command.metadata.transient
            headers |= self._lifecycle.of_stored(place, length, stored.timestamp, transient, request.transaction_id)
        return Response(200, headers)

    def delete(self, request: S3Request) -> Response:
        """204, also of what is absent."""
        place = self._authorizer.place(request)
        version = request.params.get("versionId")
        deleted = self._deleter.delete(
            place,
            version,
            write_conditions(request.environ),
            request.transaction_id,
            bypasses_governance=version is not None and self._authorizer.bypasses_governance(request, place, version),
        )
        headers = {}
        if deleted.version_id:
            headers["x-amz-version-id"] = deleted.version_id
        if deleted.is_marker:
            headers["x-amz-delete-marker"] = "true"
        return Response(204, headers)


def _headers(request: S3Request, container: ContainerInfo, info: StoredObjectInfo) -> dict[str, str]:
    headers = object_headers(info)
    if container.sysmeta:
        headers |= version_headers(container, info.version)
    if request.params:
        overrides = {OVERRIDES[name]: value for name, value in request.params.items() if name in OVERRIDES}
        if overrides and request.identity is None:
            reason = "Request specific response headers cannot be used for anonymous GET requests."
            raise S3Error("InvalidRequest", reason)
        for name, value in overrides.items():
            if not value.isprintable():
                raise S3Error("InvalidArgument", f"Not the value of a header: {name}", ArgumentName=name)
            headers[name] = value.encode().decode("latin-1")
    return headers


def _part_checksums(environ: Environ, info: StoredObjectInfo, checksums: Mapping[str, str]) -> dict[str, str]:
    """Those of one part, with the type of that of the whole."""
    if environ.get("HTTP_X_AMZ_CHECKSUM_MODE", "").upper() != "ENABLED":
        return {}
    whole = stored_checksums(info.metadata.system)
    known = {algorithm: checksums[algorithm] for algorithm in whole if algorithm in checksums}
    headers = checksum_headers(known, with_type=False)
    if known:
        headers["x-amz-checksum-type"] = type_of(next(iter(whole.values())))
    return headers


def _not_modified(container: ContainerInfo, info: StoredObjectInfo) -> Response:
    headers = object_headers(info)
    kept: Final = ("ETag", "Last-Modified", "Cache-Control", "Expires")
    return Response(
        304, {name: headers[name] for name in kept if name in headers} | version_headers(container, info.version)
    )
