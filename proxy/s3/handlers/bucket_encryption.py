"""Default encryption of buckets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.http.messages import Response
from objstore.proxy.core.containers import WriteContainer
from objstore.proxy.core.encryption.settings import container_seal, setting
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.encryption import encryption_element, parse_encryption
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.buckets import xml_response
from objstore.proxy.s3.handlers.checksums import check_setting
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.settings import DOCUMENT_BYTES_MAX
from objstore.proxy.s3.xml import MalformedDocument

if TYPE_CHECKING:
    from objstore.proxy.core.encryption.envelope import Seal
    from objstore.proxy.s3.application import Handler


class BucketEncryptionHandler:
    """Tells, sets and removes how new objects of a bucket are encrypted, whichever API has said so."""

    def __init__(self, context: S3Context) -> None:
        self._containers: Final = context.proxy.containers
        self._clock: Final = context.proxy.runtime.clock
        self._keys: Final = context.proxy.keys

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {
            Operation.GET_BUCKET_ENCRYPTION: self.get,
            Operation.PUT_BUCKET_ENCRYPTION: self.put,
            Operation.DELETE_BUCKET_ENCRYPTION: self.delete,
        }

    def get(self, request: S3Request) -> Response:
        """200."""
        seal = container_seal(request.container.info)
        if seal is None:
            raise S3Error("ServerSideEncryptionConfigurationNotFoundError", BucketName=request.bucket)
        return xml_response(encryption_element(seal))

    def put(self, request: S3Request) -> Response:
        """200."""
        content = request.content(DOCUMENT_BYTES_MAX)
        check_setting(request, content)
        received = parsed(content, "ServerSideEncryptionConfiguration")
        try:
            self._write(request, parse_encryption(received, self._keys))
        except MalformedDocument as error:
            raise S3Error("MalformedXML", str(error)) from None
        return Response(200)

    def delete(self, request: S3Request) -> Response:
        """204; what is encrypted stays so."""
        self._write(request, None)
        return Response(204)

    def _write(self, request: S3Request, seal: Seal | None) -> None:
        path, identifier = request.container.path, request.transaction_id
        self._containers.post(
            WriteContainer(path, self._clock.timestamp(), sysmeta=setting(seal), transaction_id=identifier)
        )
