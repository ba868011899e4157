"""Default encryption of buckets: one write says it to clients, and has new objects encrypted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.http.messages import Response
from objstore.proxy.core.containers import WriteContainer
from objstore.proxy.core.encryption.settings import setting
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.encryption import parse_encryption
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import check_setting
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.settings import DOCUMENT_BYTES_MAX
from objstore.proxy.s3.settings_table import ENCRYPTION, copied
from objstore.proxy.s3.xml import NAMESPACE, MalformedDocument, document

if TYPE_CHECKING:
    from objstore.proxy.core.encryption.envelope import Seal
    from objstore.proxy.s3.application import Handler


class BucketEncryptionHandler:
    """Sets and removes the default encryption of a bucket."""

    def __init__(self, context: S3Context) -> None:
        self._settings: Final = context.settings
        self._containers: Final = context.proxy.containers
        self._clock: Final = context.proxy.runtime.clock
        self._keys: Final = context.proxy.keys

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {
            Operation.PUT_BUCKET_ENCRYPTION: self.put,
            Operation.DELETE_BUCKET_ENCRYPTION: self.delete,
        }

    def put(self, request: S3Request) -> Response:
        """200."""
        content = request.content(DOCUMENT_BYTES_MAX)
        check_setting(request, content)
        received = parsed(content, "ServerSideEncryptionConfiguration")
        try:
            seal = parse_encryption(received, self._keys)
        except MalformedDocument as error:
            raise S3Error("MalformedXML", str(error)) from None
        self._write(request, document(copied(received), NAMESPACE), seal)
        return Response(200)

    def delete(self, request: S3Request) -> Response:
        """204; what is encrypted stays so."""
        self._write(request, None, None)
        return Response(204)

    def _write(self, request: S3Request, content: bytes | None, seal: Seal | None) -> None:
        bucket, identifier = request.container, request.transaction_id
        sysmeta = self._settings.encoded(bucket.path, {ENCRYPTION: content}, identifier) | setting(seal)
        command = WriteContainer(bucket.path, self._clock.timestamp(), sysmeta=sysmeta, transaction_id=identifier)
        self._containers.post(command)
        self._settings.forget_long(bucket, {ENCRYPTION: content}, identifier)
