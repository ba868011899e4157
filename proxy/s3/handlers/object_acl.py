"""Access lists of objects: GET and PUT of ?acl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.http.messages import Response
from objstore.proxy.auth.grants import decoded, encoded, private
from objstore.proxy.s3.access import ENFORCED, OBJECT_ACL
from objstore.proxy.s3.acl import grants_element
from objstore.proxy.s3.context import S3Context
from objstore.proxy.s3.handlers.buckets import grants_of_request, xml_response
from objstore.proxy.s3.handlers.reading import ObjectReader, version_headers
from objstore.proxy.s3.handlers.tagging import MetadataChanger, stored_object
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request

if TYPE_CHECKING:
    from objstore.proxy.s3.application import Handler


class ObjectAclHandler:
    """Reads and changes the access list of an object or version, which is not written anew for it."""

    def __init__(self, context: S3Context, reader: ObjectReader) -> None:
        self._authorizer: Final = context.authorizer
        self._reader: Final = reader
        self._changer: Final = MetadataChanger(context.proxy, reader)

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {Operation.GET_OBJECT_ACL: self.get, Operation.PUT_OBJECT_ACL: self.put}

    def get(self, request: S3Request) -> Response:
        """200: the grants that are in force."""
        bucket, identifier = request.container, request.transaction_id
        place = self._authorizer.place(request)
        info = stored_object(request, place, self._reader)
        grants = decoded(info.metadata.transient.get(OBJECT_ACL, ""), bucket.owner)
        if self._authorizer.ownership(bucket, identifier) == ENFORCED:
            grants = private(bucket.owner)
        elif self._authorizer.public_access(bucket, identifier).ignore_acls:
            grants = grants.without_public()
        return xml_response(grants_element(grants), version_headers(place.container, info.version))

    def put(self, request: S3Request) -> Response:
        """200, 400 AccessControlListNotSupported."""
        bucket, place = request.container, self._authorizer.place(request)
        grants = grants_of_request(request, bucket.owner, bucket.owner)
        self._authorizer.check_grants(bucket, grants, request.transaction_id)
        kept = "" if grants == private(bucket.owner) else encoded(grants)
        info = self._changer.change(request, place, OBJECT_ACL, kept)
        return Response(200, version_headers(place.container, info.version))
