"""Copies: PUT with x-amz-copy-source. The bytes pass through; the copy is an object of one part."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from objstore.checksums import Algorithm, is_composite_value
from objstore.http.messages import Environ, Response
from objstore.proxy.core.checksums import WantedChecksums, stored_checksums
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import NotModified, ObjectNotFound
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.objects import GetObject
from objstore.proxy.s3.access import Place
from objstore.proxy.s3.encryption import ENCRYPTION_HEADERS, source_key, written_headers
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import DEFAULT, add_checksums, algorithm_named
from objstore.proxy.s3.handlers.conditions import copy_source_conditions, write_conditions
from objstore.proxy.s3.handlers.metadata import GIVEN, SPELLINGS, TAGS, content_type_of, metadata_of
from objstore.proxy.s3.handlers.reading import ObjectReader, Reading, given_version, version_headers
from objstore.proxy.s3.handlers.writing import OBJECT_BYTES_MAX, ObjectWriter
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request
from objstore.proxy.s3.xml import NAMESPACE, Element, document, xml_date

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer
    from objstore.proxy.s3.lifecycle.headers import LifecycleHeaders

_GIVEN: Final = frozenset(GIVEN.values())
_DIRECTIVES: Final = ("COPY", "REPLACE")
# What makes a copy of an object onto itself worth the while.
_CHANGES: Final = frozenset({"HTTP_X_AMZ_STORAGE_CLASS", "HTTP_X_AMZ_WEBSITE_REDIRECT_LOCATION"})
_VERSION: Final = "?versionId="


class CopySource(Struct, frozen=True):
    """What is to be copied: an object, or one version of it."""

    bucket: str
    key: str
    version_id: str | None = None


class CopySources:
    """Opens the sources of copies, for CopyObject and UploadPartCopy."""

    def __init__(self, context: ProxyContext, authorizer: Authorizer, reader: ObjectReader) -> None:
        self._authorizer = authorizer
        self._reader = reader
        self._now = context.runtime.clock.now

    def open(self, request: S3Request, source: CopySource, ranges: str = "") -> tuple[Place, Reading]:
        """The source, with the client's rights and conditions; never an older state than the newest. Raises S3Error."""
        version_id = source.version_id
        place = self._authorizer.other(request, Operation.GET_OBJECT, source.bucket, source.key, version_id or "")
        if request.environ.get("HTTP_X_AMZ_SOURCE_EXPECTED_BUCKET_OWNER", place.path.account) != place.path.account:
            raise S3Error("AccessDenied")
        command = GetObject(
            place.path,
            place.container.policy_index,
            ranges=ranges,
            conditions=copy_source_conditions(request.environ, self._now()),
            newest=True,
            version="" if version_id is None else given_version(version_id),
            transaction_id=request.transaction_id,
            customer_key=source_key(request.environ),
        )
        try:
            return place, self._reader.open(request, command)
        except NotModified:
            raise S3Error("PreconditionFailed", Condition="x-amz-copy-source-If-None-Match") from None
        except ObjectNotFound:
            raise S3Error("NoSuchKey", Key=source.key) from None
        except S3Error as error:
            if error.code == "MethodNotAllowed":
                reason = "The source of a copy request may not specifically refer to a delete marker by version id."
                raise S3Error("InvalidRequest", reason) from None
            if error.code == "PreconditionFailed":
                condition = f"x-amz-copy-source-{error.elements['Condition']}"
                raise S3Error("PreconditionFailed", Condition=condition) from None
            raise


class S3CopyHandler:
    """Copies an object, within its bucket or from another one, with its metadata or with others."""

    def __init__(
        self, authorizer: Authorizer, sources: CopySources, writer: ObjectWriter, lifecycle: LifecycleHeaders
    ) -> None:
        self._authorizer = authorizer
        self._sources = sources
        self._writer = writer
        self._lifecycle = lifecycle

    def __call__(self, request: S3Request) -> Response:
        """200."""
        environ = request.environ
        conditions, given, content_type = write_conditions(environ), metadata_of(environ), content_type_of(environ)
        source = copy_source(environ)
        replaced = _directive(environ, "HTTP_X_AMZ_METADATA_DIRECTIVE", "metadata") == "REPLACE"
        tagged = _directive(environ, "HTTP_X_AMZ_TAGGING_DIRECTIVE", "tagging") == "REPLACE"
        onto_itself = (source.bucket, source.key, source.version_id) == (request.bucket, request.key, None)
        if onto_itself and not replaced and not tagged and environ.keys().isdisjoint(_CHANGES | ENCRYPTION_HEADERS):
            reason = (
                "This copy request is illegal because it is trying to copy an object to itself without changing the"
                " object's metadata, storage class, website redirect location or encryption attributes."
            )
            raise S3Error("InvalidRequest", reason)
        target = self._authorizer.place(request)
        place, reading = self._sources.open(request, source)
        opened = reading.opened
        with closing(opened):
            info, length = opened.info, opened.length
            if length is None or length > min(OBJECT_BYTES_MAX, self._writer.bytes_max):
                reason = "The specified copy source is larger than the maximum allowable size for a copy source: "
                raise S3Error("InvalidRequest", f"{reason}{OBJECT_BYTES_MAX}")
            command = self._writer.command(
                request,
                target,
                length=length,
                content_type=content_type if replaced else info.content_type,
                metadata=copied_metadata(info.metadata, given, replaced=replaced, tagged=tagged),
                checksums=WantedChecksums(kept=(_algorithm(environ, info),)),
                conditions=conditions,
            )
            stored = self._writer.copy(opened, msgspec.structs.replace(command, expected_md5=""))
        root = Element("CopyObjectResult")
        root.add("LastModified", xml_date(stored.timestamp))
        root.add("ETag", f'"{stored.etag}"')
        add_checksums(root, stored.checksums)
        headers = {"Content-Type": "application/xml", **source_version_headers(place, source, info)}
        headers |= written_headers(stored.seal, command.customer_key, self._writer.keys)
        if stored.version:
            headers |= version_headers(target.container, stored.version)
        made, transient = stored.timestamp, command.metadata.transient
        headers |= self._lifecycle.of_stored(target, length, made, transient, request.transaction_id)
        return Response(200, headers, document(root, NAMESPACE))


def source_version_headers(place: Place, source: CopySource, info: StoredObjectInfo) -> dict[str, str]:
    """Which version was copied, of a bucket that has or had any."""
    headers = version_headers(place.container, info.version)
    return {"x-amz-copy-source-version-id": headers["x-amz-version-id"]} if headers else {}


def copy_source(environ: Environ) -> CopySource:
    """What the header names: [/]bucket/key[?versionId=id], percent-quoted. Raises S3Error InvalidArgument."""
    value: str = environ["HTTP_X_AMZ_COPY_SOURCE"]
    text, found, version = value.partition(_VERSION)
    try:
        path = unquote_to_bytes(text.encode("latin-1")).decode()
    except UnicodeDecodeError:
        path = ""
    bucket, _, key = path.removeprefix("/").partition("/")
    if not bucket or not key or "\0" in path:
        reason = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey"
        raise S3Error("InvalidArgument", reason, ArgumentName="x-amz-copy-source", ArgumentValue=value)
    return CopySource(bucket, key, version if found else None)


def _directive(environ: Environ, variable: str, name: str) -> str:
    value: str = environ.get(variable, "COPY")
    if value not in _DIRECTIVES:
        header = f"x-amz-{name}-directive"
        raise S3Error("InvalidArgument", f"Unknown {name} directive.", ArgumentName=header, ArgumentValue=value)
    return value


def copied_metadata(source: StoredMetadata, given: StoredMetadata, *, replaced: bool, tagged: bool) -> StoredMetadata:
    """Of the copy: its storage class and redirect are always those of the request."""
    of_names = given.transient if replaced else source.transient
    of_tags = given.transient if tagged else source.transient
    transient = {name: of_names[name] for name in (SPELLINGS,) if name in of_names}
    transient |= {name: of_tags[name] for name in (TAGS,) if name in of_tags}
    if replaced:
        return StoredMetadata(given.user, given.system, transient, given.given)
    kept = {name: value for name, value in source.given.items() if name in _GIVEN}
    return StoredMetadata(source.user, given.system, transient, kept)


def _algorithm(environ: Environ, info: StoredObjectInfo) -> Algorithm:
    """Of the copy's checksum: the one that is asked for, or else the one that the source has."""
    asked = environ.get("HTTP_X_AMZ_CHECKSUM_ALGORITHM")
    if asked is not None:
        return algorithm_named(asked)
    stored = stored_checksums(info.metadata.system)
    return next((algorithm for algorithm, value in stored.items() if not is_composite_value(value)), DEFAULT)
