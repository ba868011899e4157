"""Uploads in parts: begun, filled, completed or aborted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from objstore.checksums import COMBINABLE, Algorithm, composite, full_object
from objstore.http.bodies import BytesBody
from objstore.http.messages import Environ, Response
from objstore.http.ranges import ByteRange
from objstore.proxy.core.checksums import WantedChecksums, checksum_metadata, stored_checksums
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import ChecksumMismatch, InvalidPart, PreconditionFailed
from objstore.proxy.core.upload_commands import (
    BeginUpload,
    ChosenPart,
    CompleteUpload,
    PutPart,
    UploadedPart,
    UploadRecord,
)
from objstore.proxy.s3.encryption import customer_key, seal_headers, written_headers
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.handlers.checksums import (
    ALGORITHMS,
    COMPOSITE,
    DEFAULT,
    FULL_OBJECT,
    TYPE_HEADER,
    add_checksums,
    algorithm_named,
    bad_digest,
    checksum_headers,
    expected_md5,
    given_checksums,
    wanted_checksums,
)
from objstore.proxy.s3.handlers.conditions import write_conditions
from objstore.proxy.s3.handlers.copying import CopySources, copy_source, source_version_headers
from objstore.proxy.s3.handlers.metadata import STORAGE_CLASS, content_type_of, metadata_of
from objstore.proxy.s3.handlers.reading import given_part_number, version_headers
from objstore.proxy.s3.handlers.writing import ObjectWriter, body_length, refused_condition
from objstore.proxy.s3.object_lock import asked_lock
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request, parsed
from objstore.proxy.s3.xml import NAMESPACE, Element, MalformedDocument, ReceivedElement, document, readable, xml_date
from objstore.uploads import begun_at

if TYPE_CHECKING:
    from objstore.proxy.s3.access import Authorizer, Place
    from objstore.proxy.s3.application import Handler
    from objstore.proxy.s3.lifecycle.headers import LifecycleHeaders

ALGORITHM: Final = "algorithm"
TYPE: Final = "type"
INITIATOR: Final = "initiator"
CLASS: Final = "class"
_COPY_RANGE: Final = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


class MultipartHandler:
    """Begins, fills, completes and aborts uploads."""

    def __init__(
        self,
        context: ProxyContext,
        authorizer: Authorizer,
        sources: CopySources,
        writer: ObjectWriter,
        lifecycle: LifecycleHeaders,
    ) -> None:
        self._authorizer = authorizer
        self._sources = sources
        self._uploads = context.uploads
        self._objects = context.objects
        self._writer = writer
        self._lifecycle = lifecycle
        self._bytes_max: Final = writer.bytes_max
        self._now = context.runtime.clock.now

    def handlers(self) -> Mapping[Operation, Handler]:
        """By operation."""
        return {
            Operation.CREATE_MULTIPART_UPLOAD: self.create,
            Operation.UPLOAD_PART: self.put_part,
            Operation.UPLOAD_PART_COPY: self.copy_part,
            Operation.COMPLETE_MULTIPART_UPLOAD: self.complete,
            Operation.ABORT_MULTIPART_UPLOAD: self.abort,
        }

    def create(self, request: S3Request) -> Response:
        """200."""
        environ, place = request.environ, self._authorizer.place(request)
        settings = upload_settings(environ)
        seal, key = self._writer.seal(request, place)
        if request.identity is not None:
            settings[INITIATOR] = request.identity.user
        metadata = metadata_of(environ)
        if STORAGE_CLASS in metadata.system:
            settings[CLASS] = metadata.system[STORAGE_CLASS]
            self._writer.classes.check(settings[CLASS], place.container.policy_index)
        more = self._authorizer.wanted_grants(request, place)
        more |= asked_lock(request, place, self._authorizer, self._now())
        if more:
            metadata = msgspec.structs.replace(metadata, transient=metadata.transient | more)
        record = UploadRecord(content_type_of(environ), metadata, settings=settings, seal=seal)
        command = BeginUpload(place.path, place.container.policy_index, record, request.transaction_id)
        upload = self._uploads.begin(command)
        root = Element("InitiateMultipartUploadResult")
        root.add("Bucket", request.bucket)
        root.add("Key", readable(request.key))
        root.add("UploadId", upload)
        headers = {"Content-Type": "application/xml"}
        headers |= self._lifecycle.of_upload(place, begun_at(upload), request.transaction_id)
        if ALGORITHM in settings:
            headers |= {"x-amz-checksum-algorithm": settings[ALGORITHM], TYPE_HEADER: settings[TYPE]}
        headers |= written_headers(seal, key, self._writer.keys)
        return Response(200, headers, document(root, NAMESPACE))

    def put_part(self, request: S3Request) -> Response:
        """200."""
        place, number = self._authorizer.place(request), _number(request)
        length = body_length(request)
        if length > self._bytes_max:
            raise S3Error("EntityTooLarge", ProposedSize=length, MaxSizeAllowed=self._bytes_max)
        wanted = self._wanted(request, place)
        command = self._command(request, place, number, length, wanted)
        try:
            stored = self._uploads.put_part(command)
        except ChecksumMismatch as error:
            raise bad_digest(error.algorithm) from None
        told = {wanted.kept[0]: stored.checksums[wanted.kept[0]]}
        headers = {"ETag": f'"{stored.etag}"', **checksum_headers(told, with_type=False)}
        return Response(200, headers | seal_headers(stored.seal, command.customer_key, self._writer.keys))

    def copy_part(self, request: S3Request) -> Response:
        """200."""
        environ, place, number = request.environ, self._authorizer.place(request), _number(request)
        source, wanted = copy_source(environ), copy_range(environ)
        algorithm = self._algorithm(request, place) or DEFAULT
        try:
            source_place, reading = self._sources.open(request, source, wanted.header if wanted else "")
        except S3Error as error:
            if error.code != "InvalidRange":
                raise
            raise _bad_copy_range(error.reason) from None
        opened = reading.opened
        with closing(opened):
            info, length = opened.info, opened.length
            if wanted is not None and opened.part != wanted:
                raise _bad_copy_range(f"Range specified is not valid for source object of size: {info.size}")
            if length is None or length > self._bytes_max:
                reason = "The specified copy source is larger than the maximum allowable size for a copy source: "
                raise S3Error("InvalidRequest", f"{reason}{self._bytes_max}")
            checksums = WantedChecksums(kept=(algorithm,))
            command = PutPart(
                place.path,
                request.params["uploadId"],
                number,
                BytesBody(b""),
                length,
                self._bytes_max,
                checksums=checksums,
                transaction_id=request.transaction_id,
                customer_key=customer_key(environ),
            )
            stored = self._uploads.copy_part(opened, command)
        root = Element("CopyPartResult")
        root.add("LastModified", xml_date(stored.timestamp))
        root.add("ETag", f'"{stored.etag}"')
        add_checksums(root, stored.checksums, with_type=False)
        headers = {"Content-Type": "application/xml", **source_version_headers(source_place, source, info)}
        headers |= seal_headers(stored.seal, command.customer_key, self._writer.keys)
        return Response(200, headers, document(root, NAMESPACE))

    def complete(self, request: S3Request) -> Response:
        """200: the object is there; also if the same was asked for before."""
        environ, place = request.environ, self._authorizer.place(request)
        chosen = chosen_parts_of(request.content())
        conditions, container = write_conditions(environ), place.container
        completion, admission = Completion(environ, chosen), ExitStack()

        def describe(parts: Sequence[UploadedPart]) -> Mapping[str, str]:
            size = sum(part.size for part in parts)
            admission.enter_context(self._writer.admitted(place.path, size, request.transaction_id))
            record = self._uploads.record(place.path, request.params["uploadId"], request.transaction_id)
            return checksum_metadata(completion.checksums(record, parts))

        command = CompleteUpload(
            path=place.path,
            policy_index=container.policy_index,
            upload=request.params["uploadId"],
            parts=chosen,
            conditions=conditions,
            version_mode=container.version_mode if container.sysmeta else "",
            describe=describe,
            transient=container.default_lock(self._now()),
            transaction_id=request.transaction_id,
        )
        try:
            with admission:
                made = self._uploads.complete(command)
        except InvalidPart as error:
            raise S3Error("InvalidPart", UploadId=command.upload, PartNumber=error.number, ETag=error.etag) from None
        except PreconditionFailed:
            raise refused_condition(self._objects, command) from None
        root = Element("CompleteMultipartUploadResult")
        root.add("Location", location_of(request))
        root.add("Bucket", request.bucket)
        root.add("Key", readable(request.key))
        root.add("ETag", f'"{made.etag}"')
        add_checksums(root, stored_checksums(made.system))
        headers = {"Content-Type": "application/xml", **seal_headers(made.seal, None, self._writer.keys)}
        if made.version:
            headers |= version_headers(container, made.version)
        return Response(200, headers, document(root, NAMESPACE))

    def abort(self, request: S3Request) -> Response:
        """204."""
        place = self._authorizer.place(request)
        self._uploads.abort(place.path, request.params["uploadId"], request.transaction_id)
        return Response(204)

    def _wanted(self, request: S3Request, place: Place) -> WantedChecksums:
        """What is computed of a part: the algorithm of the upload or, if it has none, what makes one of the whole.

        Raises S3Error InvalidRequest for another algorithm than the upload's.
        """
        of_upload = self._algorithm(request, place)
        wanted = wanted_checksums(request, of_upload or DEFAULT)
        [algorithm] = wanted.kept
        if of_upload is None:
            kept = (algorithm,) if algorithm is DEFAULT else (algorithm, DEFAULT)
            return WantedChecksums(kept, expected=wanted.expected)
        if algorithm is not of_upload:
            reason = (
                f"Checksum Type mismatch occurred, expected checksum Type: {of_upload.lower()}, actual checksum Type: "
            )
            raise S3Error("InvalidRequest", reason + algorithm.lower())
        return wanted

    def _algorithm(self, request: S3Request, place: Place) -> Algorithm | None:
        """The one that was named when the upload was begun. Raises UploadNotFound."""
        record = self._uploads.record(place.path, request.params["uploadId"], request.transaction_id)
        return Algorithm(record.settings[ALGORITHM]) if ALGORITHM in record.settings else None

    def _command(self, request: S3Request, place: Place, number: int, length: int, wanted: WantedChecksums) -> PutPart:
        return PutPart(
            place.path,
            request.params["uploadId"],
            number,
            request.body,
            length,
            self._bytes_max,
            expected_md5(request.environ),
            wanted,
            request.transaction_id,
            customer_key(request.environ),
        )


class Completion:
    """What a completion says of the whole."""

    def __init__(self, environ: Environ, chosen: Sequence[ChosenPart]) -> None:
        """Raises S3Error InvalidRequest."""
        self._given = given_checksums(environ)
        self._type = environ.get("HTTP_X_AMZ_CHECKSUM_TYPE")
        self._size = environ.get("HTTP_X_AMZ_MP_OBJECT_SIZE")
        self._consecutive = [part.number for part in chosen] == list(range(1, len(chosen) + 1))

    def checksums(self, record: UploadRecord, parts: Sequence[UploadedPart]) -> dict[Algorithm, str]:
        """That of the whole, by those of its parts. Raises S3Error if what was said of it is not so."""
        size = sum(part.size for part in parts)
        if self._size is not None and self._size != str(size):
            reason = f"The provided 'x-amz-mp-object-size' header value {self._size} does not match what was computed: "
            raise S3Error("InvalidRequest", f"{reason}{size}")
        named = ALGORITHM in record.settings
        algorithm = Algorithm(record.settings[ALGORITHM]) if named else DEFAULT
        kind = record.settings[TYPE] if named else FULL_OBJECT
        if self._type is not None and self._type != kind:
            reason = (
                f"The upload was created using the {kind} checksum mode. The complete request must use the same mode."
            )
            raise S3Error("InvalidRequest", reason)
        values = [part.checksums[algorithm] for part in parts if algorithm in part.checksums]
        if len(values) < len(parts):
            return {}
        if kind == FULL_OBJECT:
            whole = full_object(algorithm, [(value, part.size) for value, part in zip(values, parts, strict=True)])
        elif not self._consecutive:
            raise S3Error("InvalidPartOrder")
        else:
            whole = composite(algorithm, values)
        for given, value in self._given.items():
            if given is algorithm and value.partition("-")[0] != whole.partition("-")[0]:
                raise bad_digest(algorithm)
            if given is not algorithm and named:
                raise S3Error("InvalidRequest", f"The upload was created with the checksum algorithm {algorithm}.")
        return {algorithm: whole}


def upload_settings(environ: Environ) -> dict[str, str]:
    """Which checksum the object will have, as far as the request says. Raises S3Error InvalidRequest."""
    named, kind = environ.get("HTTP_X_AMZ_CHECKSUM_ALGORITHM"), environ.get("HTTP_X_AMZ_CHECKSUM_TYPE")
    if named is None:
        if kind is not None:
            reason = "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            raise S3Error("InvalidRequest", reason)
        return {}
    algorithm = algorithm_named(named)
    kind = (kind or (FULL_OBJECT if algorithm is DEFAULT else COMPOSITE)).upper()
    possible = (COMPOSITE, FULL_OBJECT) if algorithm in COMBINABLE else (COMPOSITE,)
    if kind not in (possible if algorithm is not DEFAULT else (FULL_OBJECT,)):
        reason = f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        raise S3Error("InvalidRequest", reason)
    return {ALGORITHM: algorithm, TYPE: kind}


def _number(request: S3Request) -> int:
    """The number of a part that is to be stored. Raises S3Error InvalidArgument."""
    return given_part_number(request.params.get("partNumber", ""))


def copy_range(environ: Environ) -> ByteRange | None:
    """Which part of its source a part copies, None for all of it. Raises S3Error InvalidArgument."""
    value = environ.get("HTTP_X_AMZ_COPY_SOURCE_RANGE")
    if value is None:
        return None
    found = _COPY_RANGE.fullmatch(value)
    if found is None or int(found[1]) > int(found[2]):
        raise _bad_copy_range(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the"
            " zero-based offsets of the first and last bytes to copy"
        )
    return ByteRange(int(found[1]), int(found[2]))


def _bad_copy_range(reason: str) -> S3Error:
    return S3Error("InvalidArgument", reason, ArgumentName="x-amz-copy-source-range")


def chosen_parts_of(content: bytes) -> list[ChosenPart]:
    """The parts that a document names. Raises S3Error MalformedXML."""
    try:
        parts = [_chosen_part(part) for part in parsed(content, "CompleteMultipartUpload").all("Part")]
    except (MalformedDocument, ValueError) as error:
        raise S3Error("MalformedXML", str(error)) from None
    if not parts:
        raise S3Error("MalformedXML", "You must specify at least one part")
    return parts


def _chosen_part(part: ReceivedElement) -> ChosenPart:
    text, etag = part.needed("PartNumber"), part.needed("ETag")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise MalformedDocument("PartNumber is no number")
    checksums = {
        algorithm: value for algorithm in ALGORITHMS if (value := part.value(f"Checksum{algorithm}")) is not None
    }
    return ChosenPart(int(text), etag.strip().strip('"'), checksums)


def location_of(request: S3Request) -> str:
    """The URL of the request's object."""
    environ = request.environ
    return f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}/{quote(f'{request.bucket}/{request.key}')}"
