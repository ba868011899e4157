"""PUT: store an object."""

from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.limits import check_upload_size
from objstore.object.container_updates.sender import update_targets_of
from objstore.object.engine import AlreadyStored, ObjectInfo, ObjectUpload
from objstore.object.metadata import ObjectMetadata
from objstore.object.receive import agreed_etag, receive
from objstore.object.requests import (
    StoredHeaders,
    Target,
    VersionMode,
    sorted_metadata,
    stored_headers,
    timestamp_of,
    version_mode_of,
)
from objstore.object.responses import conflict, versions_full
from objstore.object.service import ObjectService
from objstore.object.versions import ObjectVersions


def put_object(service: ObjectService, request: Request) -> Response:
    """201; 409 when something as new is stored, or no more versions can be; 412 on If-None-Match: * if there is one."""
    target = service.target(request)
    timestamp = timestamp_of(request)
    update_targets = update_targets_of(request, target)
    length = _announced_length(service, request)
    headers = stored_headers(request, service.allowed_headers)
    content_type = request.header(Client.CONTENT_TYPE)
    if not content_type:
        raise HttpError(400, "Missing Content-Type header")
    current = target.storage.look(target.location)
    if request.header(Client.IF_NONE_MATCH) is not None:
        _refuse_if_present(service, request, target, current)
    kept = version_mode_of(request) is VersionMode.KEEP
    stored_at = (current.line(timestamp) if kept else current.plain).timestamp
    if (kept and stored_at) or stored_at >= timestamp:
        return conflict(stored_at)
    if kept and current.is_full:
        return versions_full()

    service.devices.check_space(target.device, length or 0)
    upload = target.storage.create(target.location, current, length, kept)
    try:
        receive(request.body, upload, request.content_length, service.cluster.limits.max_file_size)
        metadata = _metadata(request, target, timestamp, content_type, headers, upload)
        pending_commit = upload.commit(metadata)
    except AlreadyStored:
        return conflict(timestamp)
    finally:
        upload.abort()

    info = ObjectInfo(metadata, timestamp, metadata.headers, content_type, timestamp, timestamp if kept else "")
    in_flight = service.update_sender.stored(target, update_targets, info)
    service.make_durable(target, pending_commit)
    in_flight.wait()
    answer = {Client.ETAG: metadata.etag, Backend.TIMESTAMP: timestamp}
    if kept:
        answer[Backend.VERSION_ID] = timestamp
    return Response(201, answer)


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


def _refuse_if_present(service: ObjectService, request: Request, target: Target, current: ObjectVersions) -> None:
    if request.header(Client.IF_NONE_MATCH) != "*":
        raise HttpError(400, "If-None-Match only supports * on PUT")
    stored = service.live(target, current)
    if stored is not None:
        stored.close()
        raise HttpError(412, headers={Backend.TIMESTAMP: current.newest_timestamp})


def _metadata(
    request: Request,
    target: Target,
    timestamp: str,
    content_type: str,
    headers: StoredHeaders,
    upload: ObjectUpload,
) -> ObjectMetadata:
    """What to store with a body that has been received. Raises HttpError 400 and 422."""
    trailers = request.trailers
    replaced, kept = headers.replaced, headers.kept
    if trailers:
        more_replaced, more_kept = sorted_metadata(trailers)
        replaced, kept = replaced | more_replaced, kept | more_kept
    return ObjectMetadata(
        name=target.location.name,
        timestamp=timestamp,
        size=upload.size,
        etag=agreed_etag(request, upload.checksum, trailers),
        checksum=upload.checksum,
        content_type=content_type,
        headers=replaced,
        sysmeta=kept,
    )
