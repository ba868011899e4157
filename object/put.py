"""PUT: store an object."""

from objstore.headers import Backend, Client
from objstore.http.bodies import BytesBody
from objstore.http.errors import HttpError
from objstore.http.messages import BodyReader, Request, Response
from objstore.limits import check_upload_size
from objstore.object.conditions import is_conditional, refuse_looked
from objstore.object.container_updates.sender import update_targets_of
from objstore.object.engine import AlreadyStored, ObjectInfo, ObjectUpload
from objstore.object.fragments import stored_fragment, whole_size
from objstore.object.metadata import ObjectMetadata
from objstore.object.receive import WHOLE_BYTES_MAX, agreed_etag, receive
from objstore.object.requests import (
    StoredHeaders,
    Target,
    VersionMode,
    sorted_metadata,
    stored_headers,
    timestamp_of,
    version_mode_of,
    version_of,
)
from objstore.object.responses import conflict, locked, versions_full
from objstore.object.service import ObjectService
from objstore.object.strong_writes import StrongWrite, kept_body
from objstore.object.versions import ObjectVersions


def put_object(service: ObjectService, request: Request) -> Response:
    """201; 403 when a lock protects what would be replaced; 409 when something as new is stored, or no more versions
    can be; 412 when a condition does not hold."""
    target, timestamp = service.target(request), timestamp_of(request)
    if not target.location.policy.is_strong:
        return _put(service, request, target, timestamp, None)
    with StrongWrite(service, request, target, timestamp) as strong:
        return _put(service, request, target, timestamp, strong)


def _put(
    service: ObjectService, request: Request, target: Target, timestamp: str, strong: StrongWrite | None
) -> Response:
    update_targets = update_targets_of(request, target)
    length = _announced_length(service, request)
    headers = stored_headers(request, service.allowed_headers)
    content_type = request.header(Client.CONTENT_TYPE)
    if not content_type:
        raise HttpError(400, "Missing Content-Type header")
    body, kept = request.body, ""
    if strong is not None:
        body, kept = _hold(strong, request), kept_body(request)
    current = target.storage.look(target.location)
    if strong is None and is_conditional(request) and (no := refuse_looked(service, request, target, current)):
        return no
    if strong is not None and (no := _checked(strong, current, body)):
        return no
    version = _kept_version(request, timestamp)
    line = current.line(version)
    if line.timestamp >= timestamp or (version and (line.tombstone is not None or version > timestamp)):
        return conflict(line.timestamp or version)
    if version and not line.is_live and current.is_full:
        return versions_full()
    # An object of the plain line is locked by a POST, a version may be from the beginning.
    if (line.meta is not None or (version and line.is_live)) and service.is_locked(target, version):
        return locked()

    service.devices.check_space(target.device, length or 0)
    upload = _create(target, current, length, version, kept)
    try:
        if not kept:
            receive(body, upload, request.content_length, service.cluster.limits.max_file_size)
        undecided = strong if strong is not None and not strong.is_held else None
        if undecided is not None:
            timestamp = undecided.decided(request.trailers)
        metadata = _metadata(request, target, timestamp, content_type, headers, upload)
        if undecided is not None:
            undecided.hold()
            if no := undecided.refusal(target.storage.look(target.location)):
                if no.status == 409:
                    no.headers[Backend.KEPT_BODY] = upload.keep()
                return no
        pending_commit = upload.commit(metadata, settled=metadata.fragment is None)
    except AlreadyStored:
        return conflict(timestamp)
    finally:
        upload.abort()

    info = ObjectInfo(metadata, timestamp, metadata.headers, content_type, timestamp, version)
    in_flight = service.update_sender.stored(target, update_targets, info)
    service.make_durable(target, pending_commit)
    if strong is not None:
        strong.release()
    answer = in_flight.acknowledgement()
    answer |= {Client.ETAG: metadata.etag, Backend.TIMESTAMP: timestamp}
    if version:
        answer[Backend.VERSION_ID] = version
    return Response(201, answer)


def _create(target: Target, current: ObjectVersions, length: int | None, version: str, kept: str) -> ObjectUpload:
    """A new body, or one that was `kept`. Raises HttpError 503 when that is gone."""
    try:
        return target.storage.create(target.location, current, length, version, kept)
    except FileNotFoundError:
        if not kept:
            raise
        raise HttpError(503, "The body was kept for too long") from None


def _kept_version(request: Request, timestamp: str) -> str:
    """The kept version that the body is of, "" for the plain line: a new one, or one written again.

    Written again it is newer than when it was new, so that it is current from then on. Raises HttpError 400.
    """
    return (version_of(request) or timestamp) if version_mode_of(request) is VersionMode.KEEP else ""


def _hold(strong: StrongWrite, request: Request) -> BodyReader:
    """Hold the slot of the object: from now on, with a small body at hand."""
    body = request.body
    if not isinstance(body, BytesBody):
        length = request.content_length
        if length is not None and length <= WHOLE_BYTES_MAX:
            body = BytesBody(body.read())
    strong.hold()
    return body


def _checked(strong: StrongWrite, current: ObjectVersions, body: BodyReader) -> Response | None:
    """The refusal, if there is one; a large body is received while others may write the object."""
    refused = strong.refusal(current)
    if not isinstance(body, BytesBody):
        strong.release()
    return refused


def _announced_length(service: ObjectService, request: Request) -> int | None:
    """How long the body will be, None if not known. Raises HttpError 400 and 411, ObjectTooLarge."""
    length, chunked = request.content_length, request.chunked
    if length is None and chunked:
        hint = request.header(Backend.OBJECT_LENGTH)
        if hint is not None and hint.isascii() and hint.isdigit():
            length = int(hint)
    elif length is None:
        raise HttpError(411, "Missing Content-Length header.")
    check_upload_size(service.cluster.limits, length)
    return length


def _metadata(
    request: Request,
    target: Target,
    timestamp: str,
    content_type: str,
    headers: StoredHeaders,
    upload: ObjectUpload,
) -> ObjectMetadata:
    """What to store with a body that has been received. Raises HttpError 400 and 422."""
    trailers, size = request.trailers, upload.size
    fragment = stored_fragment(request, size)
    if fragment is not None:
        size = whole_size(request, fragment)
    replaced, kept = headers.replaced, headers.kept
    if trailers:
        more_replaced, more_kept = sorted_metadata(trailers)
        replaced, kept = replaced | more_replaced, kept | more_kept
    return ObjectMetadata(
        name=target.location.name,
        timestamp=timestamp,
        size=size,
        etag=agreed_etag(request, upload.checksum, trailers),
        checksum=upload.checksum,
        content_type=content_type,
        headers=replaced,
        sysmeta=kept,
        fragment=fragment,
    )
