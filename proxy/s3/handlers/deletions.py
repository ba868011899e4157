"""Deletions: of one object or version, or of up to 1,000 that a document names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from objstore.conditions import WriteConditions
from objstore.errors import StoreError
from objstore.http.messages import Response
from objstore.proxy.core.conditions import check_conditions
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import NewerStored, ObjectNotFound, PreconditionFailed
from objstore.proxy.core.objects import DeleteObject, GetObject
from objstore.proxy.core.parallel import for_each
from objstore.proxy.core.versions import NULL, public_id
from objstore.proxy.s3.access import Place
from objstore.proxy.s3.errors import S3Error, refusal_of
from objstore.proxy.s3.handlers.checksums import check_document
from objstore.proxy.s3.handlers.conditions import precondition_failed
from objstore.proxy.s3.handlers.events import REMOVED
from objstore.proxy.s3.handlers.reading import given_version
from objstore.proxy.s3.handlers.writing import newer_timestamp
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import KEY_BYTES_MAX, S3Request, parsed
from objstore.proxy.s3.xml import NAMESPACE, Element, MalformedDocument, ReceivedElement, document, readable

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer
    from objstore.proxy.s3.handlers.events import EventStage

ITEMS_MAX: Final = 1000
CONCURRENCY: Final = 8


class Deleted(Struct, frozen=True):
    """What a deletion did: `version_id` was removed or, without one asked for, is the delete marker that was made."""

    version_id: str = ""
    is_marker: bool = False


class ObjectDeleter:
    """Deletes one object; what goes wrong are S3Errors and CoreErrors."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects = context.objects
        self._clock = context.runtime.clock

    def delete(
        self,
        place: Place,
        identifier: str | None,
        conditions: WriteConditions | None,
        transaction_id: str,
        *,
        bypasses_governance: bool = False,
    ) -> Deleted:
        """Delete what is current or, with `identifier`, one version for good. What is absent is deleted already."""
        container = place.container
        command = DeleteObject(
            place.path,
            container.policy_index,
            self._clock.timestamp(),
            conditions=conditions,
            bypasses_governance=bypasses_governance,
            transaction_id=transaction_id,
        )
        try:
            if identifier is not None:
                version = given_version(identifier)
                if version != NULL or container.versioning:
                    return self._remove(command, identifier, version)
            mode = container.version_mode if container.sysmeta else ""
            made = self._delete(msgspec.structs.replace(command, version_mode=mode))
        except PreconditionFailed:
            raise precondition_failed(conditions) from None
        if not mode:
            return Deleted(NULL if identifier else "")
        return Deleted(public_id(made) if mode == "keep" else NULL, is_marker=True)

    def _remove(self, command: DeleteObject, identifier: str, version: str) -> Deleted:
        """Remove one version, which conditions are about."""
        read = GetObject(
            command.path,
            command.policy_index,
            open_expired=True,
            version=version,
            transaction_id=command.transaction_id,
        )
        found, is_marker = None, False
        try:
            found = self._objects.head(read)
        except ObjectNotFound as error:
            is_marker = error.is_marker
        check_conditions(command.conditions, found)
        self._delete(msgspec.structs.replace(command, version=version, conditions=None))
        return Deleted(identifier, is_marker)

    def _delete(self, command: DeleteObject) -> str:
        """Delete, with a newer stamp where something newer is stored; the version of a marker that is made."""
        try:
            try:
                return self._objects.delete(command).internal
            except NewerStored:
                stamp = newer_timestamp(self._objects, self._clock, command)
                return self._objects.delete(msgspec.structs.replace(command, timestamp=stamp)).internal
        except ObjectNotFound as error:
            return error.version


class NamedItem(Struct, frozen=True):
    """What a document wants deleted."""

    key: str
    version_id: str | None
    conditions: WriteConditions | None


class DeletionHandler:
    """POST ?delete: deletes each of the objects that the client may delete, and says of each what came of it."""

    def __init__(self, authorizer: Authorizer, deleter: ObjectDeleter, events: EventStage) -> None:
        self._authorizer = authorizer
        self._deleter = deleter
        self._events = events

    def __call__(self, request: S3Request) -> Response:
        """200, whatever becomes of the objects."""
        content = request.content()
        check_document(request, content, needed=True)
        items, quiet = named_items(parsed(content, "Delete"))
        results: dict[int, Element | None] = {}

        def work(index: int) -> None:
            results[index] = self._result(request, items[index], quiet)

        for_each(range(len(items)), work, CONCURRENCY)
        root = Element("DeleteResult")
        for index in range(len(items)):
            if (result := results[index]) is not None:
                root.append(result)
        return Response(200, {"Content-Type": "application/xml"}, document(root, NAMESPACE))

    def _result(self, request: S3Request, item: NamedItem, quiet: bool) -> Element | None:
        try:
            deleted = self._delete(request, item)
        except StoreError as error:
            return _refused(item, error)
        if quiet:
            return None
        result = _named("Deleted", item)
        if deleted.is_marker:
            result.add("DeleteMarker", "true")
            result.add("DeleteMarkerVersionId", deleted.version_id)
        return result

    def _place(self, request: S3Request, item: NamedItem) -> Place:
        container = request.container
        path = container.path.with_object(item.key)
        self._authorizer.check(request, Operation.DELETE_OBJECT, path, container.info, item.version_id or "")
        return Place(path, container.info)

    def _delete(self, request: S3Request, item: NamedItem) -> Deleted:
        if len(item.key.encode()) > KEY_BYTES_MAX:
            raise S3Error("KeyTooLongError")
        place = self._place(request, item)
        bypasses = item.version_id is not None and self._authorizer.bypasses_governance(request, place, item.version_id)

        def delete() -> Deleted:
            return self._deleter.delete(
                place, item.version_id, item.conditions, request.transaction_id, bypasses_governance=bypasses
            )

        if not self._events.concerns(request):
            return delete()
        return self._events.carry_out(request, REMOVED, item.key, item.version_id, delete, lambda made: made.version_id)


def _named(name: str, item: NamedItem) -> Element:
    element = Element(name)
    element.add("Key", readable(item.key))
    if item.version_id is not None:
        element.add("VersionId", item.version_id)
    return element


def _refused(item: NamedItem, error: StoreError) -> Element:
    refusal, element = refusal_of(error), _named("Error", item)
    element.add("Code", refusal.code)
    element.add("Message", refusal.reason)
    return element


def named_items(root: ReceivedElement) -> tuple[list[NamedItem], bool]:
    """What a document wants deleted, and whether successes go without saying. Raises S3Error MalformedXML."""
    try:
        items = [_item(each) for each in root.all("Object")]
        quiet = (root.value("Quiet") or "").strip().lower() == "true"
    except MalformedDocument as error:
        raise S3Error("MalformedXML", str(error)) from None
    if not 0 < len(items) <= ITEMS_MAX:
        raise S3Error("MalformedXML", f"A document names 1 to {ITEMS_MAX} objects")
    return items, quiet


def _item(element: ReceivedElement) -> NamedItem:
    key, etag = element.needed("Key"), element.value("ETag")
    if element.find("LastModifiedTime") is not None or element.find("Size") is not None:
        raise S3Error("NotImplemented", "Deletions depend on ETags, not on LastModifiedTime or Size")
    if not key or "\0" in key:
        raise MalformedDocument("an empty Key")
    conditions = None if etag is None else WriteConditions(if_match=(etag.strip().strip('"'),))
    return NamedItem(key, element.value("VersionId"), conditions)
