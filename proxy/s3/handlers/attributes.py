"""GET ?attributes: what is known of an object, and of the parts of which it was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from objstore.checksums import Algorithm
from objstore.http.messages import Response
from objstore.proxy.core.checksums import stored_checksums
from objstore.proxy.core.manifest import Part
from objstore.proxy.core.objects import GetObject
from objstore.proxy.s3.encryption import customer_key, require_key
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import add_checksums
from objstore.proxy.s3.handlers.listings import invalid, page_size
from objstore.proxy.s3.handlers.metadata import STORAGE_CLASS
from objstore.proxy.s3.handlers.reading import ObjectReader, version_asked, version_headers
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.storage_classes import STANDARD
from objstore.proxy.s3.xml import NAMESPACE, Element, document

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer

ATTRIBUTES: Final = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
MAX_PARTS: Final = "x-amz-max-parts"


class AttributesHandler:
    def __init__(self, authorizer: Authorizer, reader: ObjectReader) -> None:
        self._authorizer = authorizer
        self._reader = reader

    def __call__(self, request: S3Request) -> Response:
        """200."""
        wanted = _wanted(request.environ.get("HTTP_X_AMZ_OBJECT_ATTRIBUTES", ""))
        environ = request.environ
        maximum = page_size({MAX_PARTS: environ.get("HTTP_X_AMZ_MAX_PARTS", "")}, MAX_PARTS)
        marker = part_marker(environ.get("HTTP_X_AMZ_PART_NUMBER_MARKER"), "x-amz-part-number-marker")
        place = self._authorizer.place(request)
        command = GetObject(
            place.path,
            place.container.policy_index,
            version=version_asked(request),
            transaction_id=request.transaction_id,
            customer_key=customer_key(environ),
        )
        info, parts = self._reader.parts(request, command)
        require_key(info.seal, command.customer_key, place.path)
        root = Element("GetObjectAttributesResponse")
        checksums = stored_checksums(info.metadata.system)
        if "ETag" in wanted:
            root.add("ETag", info.etag)
        if "Checksum" in wanted and checksums:
            add_checksums(root.add("Checksum"), checksums)
        if "ObjectParts" in wanted and parts:
            _add_parts(root.add("ObjectParts"), parts, checksums, maximum, marker)
        if "StorageClass" in wanted:
            root.add("StorageClass", info.metadata.system.get(STORAGE_CLASS, STANDARD))
        if "ObjectSize" in wanted:
            root.add("ObjectSize", info.size)
        headers = {"Content-Type": "application/xml", "Last-Modified": info.last_modified}
        return Response(200, headers | version_headers(place.container, info.version), document(root, NAMESPACE))


def _wanted(header: str) -> frozenset[str]:
    wanted = frozenset(name.strip() for name in header.split(",") if name.strip())
    if not wanted:
        raise S3Error("InvalidRequest", "The x-amz-object-attributes header specifying the attributes is missing")
    if unknown := wanted.difference(ATTRIBUTES):
        raise S3Error(
            "InvalidArgument",
            "Invalid attribute name specified.",
            ArgumentName="x-amz-object-attributes",
            ArgumentValue=", ".join(sorted(unknown)),
        )
    return wanted


def part_marker(text: str | None, name: str) -> int:
    """Behind which part a page begins. Raises S3Error InvalidArgument."""
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 10:
        raise invalid(name, text, f"Argument {name} must be an integer between 0 and 2147483647")
    return int(text)


def _add_parts(element: Element, parts: list[Part], checksums: dict[Algorithm, str], maximum: int, marker: int) -> None:
    """A page of the parts; each has an element only if it has a checksum of its own."""
    numbered = [(part.number or position, part) for position, part in enumerate(parts, 1)]
    later = [each for each in numbered if each[0] > marker]
    page = later[:maximum]
    element.add("PartsCount", len(parts))
    element.add("PartNumberMarker", marker)
    element.add("NextPartNumberMarker", page[-1][0] if page else marker)
    element.add("MaxParts", maximum)
    element.add("IsTruncated", "true" if len(later) > len(page) else "false")
    for number, part in page:
        known = {algorithm: part.checksums[algorithm] for algorithm in checksums if algorithm in part.checksums}
        if known:
            child = element.add("Part")
            child.add("PartNumber", number)
            child.add("Size", part.length)
            add_checksums(child, known, with_type=False)
