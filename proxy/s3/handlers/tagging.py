"""Tags of objects: GET, PUT and DELETE of ?tagging."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from objstore.conditions import WriteConditions
from objstore.http.messages import Response
from objstore.object_lock import LOCK_HOLD, LOCK_RETENTION
from objstore.proxy.core.conditions import state_of
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import NewerStored, PreconditionFailed
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.objects import GetObject, PostObject
from objstore.proxy.s3.access import Place
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import check_document
from objstore.proxy.s3.handlers.metadata import TAGS
from objstore.proxy.s3.handlers.object_tags import TAGS_MAX, stored_tags, tags_of
from objstore.proxy.s3.handlers.reading import ObjectReader, version_asked, version_headers
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.tags import received_tags, tagging_element
from objstore.proxy.s3.xml import NAMESPACE, MalformedDocument, document
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer
    from objstore.proxy.s3.application import Handler

LOCK: Final = (LOCK_RETENTION, LOCK_HOLD)  # stays as it is by then
# A change that meets a newer one is begun anew.
TRIES_MAX: Final = 10


class TaggingHandler:
    """Reads and changes the tags of an object or version, which is not written anew for it."""

    def __init__(self, context: ProxyContext, authorizer: Authorizer, reader: ObjectReader) -> None:
        self._authorizer = authorizer
        self._reader = reader
        self._changer = MetadataChanger(context, reader)

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {
            Operation.GET_OBJECT_TAGGING: self.get,
            Operation.PUT_OBJECT_TAGGING: self.put,
            Operation.DELETE_OBJECT_TAGGING: self.delete,
        }

    def get(self, request: S3Request) -> Response:
        """200; an object without tags has an empty set."""
        place = self._authorizer.place(request)
        info = stored_object(request, place, self._reader)
        tags = tags_of(info.metadata.transient.get(TAGS, ""))
        headers = {"Content-Type": "application/xml", **version_headers(place.container, info.version)}
        return Response(200, headers, document(tagging_element(tags), NAMESPACE))

    def put(self, request: S3Request) -> Response:
        """200."""
        content = request.content()
        check_document(request, content, needed=True)
        try:
            tags = received_tags(parsed(content, "Tagging"), TAGS_MAX)
        except MalformedDocument as error:
            raise S3Error("MalformedXML", str(error)) from None
        return self._replace(request, stored_tags(tags), 200)

    def delete(self, request: S3Request) -> Response:
        """204."""
        return self._replace(request, "", 204)

    def _replace(self, request: S3Request, tags: str, status: int) -> Response:
        place = self._authorizer.place(request)
        info = self._changer.change(request, place, TAGS, tags)
        return Response(status, version_headers(place.container, info.version))


def stored_object(request: S3Request, place: Place, reader: ObjectReader) -> StoredObjectInfo:
    """The object, or the version, whose metadata a request is about. Raises S3Error, CoreError."""
    command = GetObject(
        place.path,
        place.container.policy_index,
        newest=True,
        as_stored=True,
        version=version_asked(request),
        transaction_id=request.transaction_id,
    )
    return reader.stored(request, command)


class MetadataChanger:
    """Changes one item of what can change without the object: the rest stays.

    What is written to the object meanwhile has metadata of its own. Under a strong policy the object's servers agree on
    what the change is laid over, so of two changes of different items at one moment none is lost. Under others the item
    is written together with the rest as it was read, so that all servers store the same; there one may be.
    """

    def __init__(self, context: ProxyContext, reader: ObjectReader) -> None:
        self._reader = reader
        self._objects = context.objects
        self._random = context.runtime.random
        self._policies = context.cluster.policies

    def change(self, request: S3Request, place: Place, name: str, value: str) -> StoredObjectInfo:
        """The object as it was before; "" removes the item. Raises S3Error, CoreError."""
        for _ in range(TRIES_MAX):
            info = stored_object(request, place, self._reader)
            try:
                self._objects.post(self._command(request, place, info, name, value))
            except (NewerStored, PreconditionFailed):
                continue
            return info
        raise S3Error("SlowDown")

    def _command(self, request: S3Request, place: Place, info: StoredObjectInfo, name: str, value: str) -> PostObject:
        merges = self._policies.by_index(place.container.policy_index).is_strong
        if merges:
            metadata = StoredMetadata(transient={name: value})
        else:
            kept = {key: other for key, other in info.metadata.transient.items() if key not in LOCK}
            metadata = msgspec.structs.replace(info.metadata, transient={**kept, name: value}, system={})
        version = version_asked(request)
        return PostObject(
            path=place.path,
            policy_index=place.container.policy_index,
            # Right after what was read, so that it never applies to what is written later. No two changes have one
            # stamp, or replicas could hold a different one each.
            timestamp=Timestamp(Timestamp.parse(info.timestamp).ticks + 1, self._random.getrandbits(64)),
            metadata=metadata,
            delete_at=info.delete_at,
            merges=merges,
            conditions=None if version else WriteConditions(if_match=(state_of(info).etag,)),
            version=version or info.version,
            transaction_id=request.transaction_id,
        )
