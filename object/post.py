"""POST: replace an object's metadata."""

from typing import Final

from objstore.headers import Backend, Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.object.conditions import is_conditional, refuse
from objstore.object.container_updates.sender import update_targets_of
from objstore.object.engine import AlreadyStored, ObjectInfo
from objstore.object.metadata import PostedMetadata
from objstore.object.requests import (
    Target,
    bypasses_governance,
    ignores_expiry,
    stored_headers,
    timestamp_of,
    version_of,
)
from objstore.object.responses import conflict, locked, no_data, plain
from objstore.object.service import ObjectService
from objstore.object.strong_writes import StrongWrite
from objstore.object_lock import is_refused, with_lock_of

STAYING: Final = (Sysmeta.TAGS, Sysmeta.S3_ACL)


def post_object(service: ObjectService, request: Request) -> Response:
    """202; 403 if it would weaken a lock; 404 without such a version, or only an expired one; 409 when its metadata and
    content type are as new.

    A lock, and what is in STAYING, stays unless the request names another one; with X-Backend-Merge all stays that it
    does not name. The answer says where a link leads: its reader may have meant the target.
    """
    target, timestamp = service.target(request), timestamp_of(request)
    if not target.location.policy.is_strong:
        return _post(service, request, target, timestamp, None)
    with StrongWrite(service, request, target, timestamp) as strong:
        strong.hold()
        return _post(service, request, target, timestamp, strong)


def _post(
    service: ObjectService, request: Request, target: Target, timestamp: str, strong: StrongWrite | None
) -> Response:
    update_targets = update_targets_of(request, target)
    headers = stored_headers(request, service.allowed_headers)
    version = version_of(request)
    current, stored = target.storage.examine(target.location, version)
    if strong is not None:
        refusal = strong.refusal(current)
    else:
        refusal = refuse(service, request, current, stored) if is_conditional(request) else None
    if refusal is not None:
        if stored is not None:
            stored.close()
        return refusal
    if stored is None or (service.expired(stored) and not ignores_expiry(request)):
        return no_data(current.current if version is None else current.line(version))
    stored.close()

    before = stored.info
    try:
        if is_refused(before.headers, headers.replaced, service.clock.now(), bypasses=bypasses_governance(request)):
            return locked()
    except ValueError as error:
        raise HttpError(400, str(error)) from None
    merges = request.header(Backend.MERGE) is not None
    replaced = headers_after(before.headers, headers.replaced, merges=merges)
    after = merge_post(before, timestamp, replaced, request.header(Client.CONTENT_TYPE) or "")
    if after is before:
        return conflict(before.timestamp)
    try:
        pending_commit = target.storage.write_metadata(target.location, current, posted_metadata(after), after.version)
    except AlreadyStored:
        return conflict(timestamp)

    in_flight = service.update_sender.stored(target, update_targets, after)
    service.make_durable(target, pending_commit)
    if strong is not None:
        strong.release()
    acknowledgement = in_flight.acknowledgement()
    response = plain(202, "Accepted", after.timestamp)
    response.headers |= acknowledgement
    if after.version:
        response.headers[Backend.VERSION_ID] = after.version
    if Sysmeta.LINK_TARGET in before.data.sysmeta:
        response.headers |= before.data.sysmeta
    return response


def headers_after(before: dict[str, str], posted: dict[str, str], *, merges: bool) -> dict[str, str]:
    """The headers that a POST leaves. What an API keeps in STAYING is not for the other to clear; "" takes it away."""
    kept = before if merges else with_lock_of(before, {name: before[name] for name in STAYING if name in before})
    return {name: value for name, value in {**kept, **posted}.items() if value or name not in STAYING}


def merge_post(before: ObjectInfo, timestamp: str, headers: dict[str, str], content_type: str) -> ObjectInfo:
    """The info after a POST at `timestamp`; `before` itself if all that it says is out of date.

    Headers and content type have timestamps of their own, so that POSTs may arrive in any order: a late one that
    was the last to set the content type still sets it. An empty content type sets none.
    """
    newer_headers = timestamp > before.timestamp
    newer_type = bool(content_type) and timestamp > before.content_type_timestamp
    if not newer_headers and not newer_type:
        return before
    return ObjectInfo(
        data=before.data,
        timestamp=timestamp if newer_headers else before.timestamp,
        headers=headers if newer_headers else before.headers,
        content_type=content_type if newer_type else before.content_type,
        content_type_timestamp=timestamp if newer_type else before.content_type_timestamp,
        version=before.version,
    )


def posted_metadata(info: ObjectInfo) -> PostedMetadata:
    """What to lay over the data file; the content type only where it is newer than the data."""
    own_type = info.content_type_timestamp > info.data.timestamp
    return PostedMetadata(
        name=info.data.name,
        timestamp=info.timestamp,
        headers=info.headers,
        content_type=info.content_type if own_type else "",
        content_type_timestamp=info.content_type_timestamp if own_type else "",
    )
