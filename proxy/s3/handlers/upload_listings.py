"""Listings of uploads: those of a bucket, and the parts of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from objstore.http.messages import Response
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.upload_commands import ListUploads
from objstore.proxy.s3.acl import add_owner
from objstore.proxy.s3.handlers.attributes import part_marker
from objstore.proxy.s3.handlers.checksums import add_checksums
from objstore.proxy.s3.handlers.listings import asked_page, page_size, url_spelt
from objstore.proxy.s3.handlers.metadata import STORAGE_CLASS
from objstore.proxy.s3.handlers.multipart import ALGORITHM, CLASS, INITIATOR, TYPE
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.storage_classes import STANDARD
from objstore.proxy.s3.xml import NAMESPACE, Element, document, readable, xml_date
from objstore.timestamps import Timestamp
from objstore.uploads import begun_at

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer


class UploadListings:
    def __init__(self, context: ProxyContext, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._uploads = context.uploads

    def uploads(self, request: S3Request) -> Response:
        """200: the open uploads of a bucket, by key and then by time."""
        params, page = request.params, asked_page(request.params, "max-uploads")
        key_marker = params.get("key-marker", "")
        upload_marker = params.get("upload-id-marker", "") if key_marker else ""
        bucket = request.container
        found = self._uploads.list(
            ListUploads(
                bucket.path,
                page.size,
                page.prefix,
                page.delimiter,
                key_marker,
                upload_marker,
                transaction_id=request.transaction_id,
            )
        )
        spelt = url_spelt if page.encoding else str
        root = Element("ListMultipartUploadsResult")
        root.add("Bucket", request.bucket)
        root.add("KeyMarker", spelt(key_marker))
        root.add("UploadIdMarker", upload_marker)
        if found.next is not None:
            root.add("NextKeyMarker", spelt(found.next.key))
            root.add("NextUploadIdMarker", found.next.upload)
        if page.prefix:
            root.add("Prefix", spelt(page.prefix))
        if page.delimiter:
            root.add("Delimiter", spelt(page.delimiter))
        if page.encoding:
            root.add("EncodingType", page.encoding)
        root.add("MaxUploads", page.size)
        root.add("IsTruncated", "false" if found.next is None else "true")
        for each in found.uploads:
            name, settings = each.name, each.settings
            upload = root.add("Upload")
            upload.add("Key", spelt(name.key))
            upload.add("UploadId", name.upload)
            _add_people(upload, bucket.owner, settings.get(INITIATOR, ""))
            upload.add("StorageClass", settings.get(CLASS, STANDARD))
            upload.add("Initiated", xml_date(begun_at(name.upload)))
            _add_algorithm(upload, settings)
        for prefix in found.prefixes:
            root.add("CommonPrefixes").add("Prefix", spelt(prefix))
        return Response(200, {"Content-Type": "application/xml"}, document(root, NAMESPACE))

    def parts(self, request: S3Request) -> Response:
        """200: the parts of an upload, by number."""
        place, params, transaction_id = self._authorizer.place(request), request.params, request.transaction_id
        maximum = page_size(params, "max-parts")
        marker = part_marker(params.get("part-number-marker"), "part-number-marker")
        upload = params["uploadId"]
        record = self._uploads.record(place.path, upload, transaction_id)
        page = self._uploads.list_parts(place.path, upload, transaction_id, marker, maximum)
        root = Element("ListPartsResult")
        root.add("Bucket", request.bucket)
        root.add("Key", readable(request.key))
        root.add("UploadId", upload)
        root.add("PartNumberMarker", marker)
        root.add("NextPartNumberMarker", page.parts[-1].number if page.parts else marker)
        root.add("MaxParts", maximum)
        root.add("IsTruncated", "true" if page.truncated else "false")
        settings = record.settings
        for part in page.parts:
            element = root.add("Part")
            element.add("PartNumber", part.number)
            element.add("LastModified", xml_date(Timestamp.from_isoformat(part.last_modified)))
            element.add("ETag", f'"{part.etag}"')
            element.add("Size", part.size)
            if ALGORITHM in settings:
                known = {name: value for name, value in part.checksums.items() if name == settings[ALGORITHM]}
                add_checksums(element, known, with_type=False)
        _add_people(root, request.container.owner, settings.get(INITIATOR, ""))
        root.add("StorageClass", record.metadata.system.get(STORAGE_CLASS, STANDARD))
        _add_algorithm(root, settings)
        return Response(200, {"Content-Type": "application/xml"}, document(root, NAMESPACE))


def _add_algorithm(element: Element, settings: Mapping[str, str]) -> None:
    """Which checksum the object will have, if that was said when the upload was begun."""
    if ALGORITHM in settings:
        element.add("ChecksumAlgorithm", settings[ALGORITHM])
        element.add("ChecksumType", settings[TYPE])


def _add_people(element: Element, owner: str, initiator: str) -> None:
    """Who has begun the upload, and whose it will be."""
    begun = element.add("Initiator")
    begun.add("ID", initiator or owner)
    begun.add("DisplayName", initiator or owner)
    add_owner(element, owner)
