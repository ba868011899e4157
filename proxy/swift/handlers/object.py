"""Objects: requests become commands of the core, and results become answers."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from objstore.conditions import WriteConditions
from objstore.headers import Client, Sysmeta, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Environ, Response, title_of, variable_of
from objstore.limits import Limits, check_metadata, check_path, check_upload_size, is_utf8
from objstore.paths import ResourcePath
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.encryption.settings import container_seal, is_marked
from objstore.proxy.core.errors import ContainerNotFound, QuorumNotReached
from objstore.proxy.core.info import NO_METADATA, PRESENT, UNKNOWN, ContainerInfo, StoredMetadata, StoredObjectInfo
from objstore.proxy.core.listing import without_own_parameters
from objstore.proxy.core.objects import Conditions, DeleteObject, GetObject, OpenedObject, PostObject, PutObject
from objstore.proxy.core.versions import public_id
from objstore.proxy.swift.handlers.common import check_dynamic_manifest, write_conditions_of
from objstore.proxy.swift.handlers.multipart import MultipartBody
from objstore.proxy.swift.request import SwiftRequest
from objstore.system.clock import Clock

if TYPE_CHECKING:
    from objstore.proxy.swift.features.quotas import Quotas
    from objstore.proxy.swift.handlers.resolving import Resolver
    from objstore.proxy.swift.handlers.symlinks import Symlinks
    from objstore.proxy.swift.handlers.versions import ObjectVersioning

META: Final = Client.OBJECT_META_PREFIX
FAMILIES: Final = (META, Sysmeta.OBJECT_PREFIX, Sysmeta.OBJECT_TRANSIENT_PREFIX)
# What is given back with the body as it came.
GIVEN: Final = tuple(
    (variable_of(name), name)
    for name in (
        Client.CONTENT_DISPOSITION,
        Client.CONTENT_ENCODING,
        Client.OBJECT_MANIFEST,
        Client.CACHE_CONTROL,
        Client.CONTENT_LANGUAGE,
        Client.EXPIRES,
        Client.ROBOTS_TAG,
    )
)
CONDITIONS: Final = {
    "HTTP_IF_MATCH": "if_match",
    "HTTP_IF_NONE_MATCH": "if_none_match",
    "HTTP_IF_MODIFIED_SINCE": "if_modified_since",
    "HTTP_IF_UNMODIFIED_SINCE": "if_unmodified_since",
    "HTTP_IF_RANGE": "if_range",
}
STATIC_LARGE_OBJECT: Final = variable_of(Client.STATIC_LARGE_OBJECT)
SYMLINK_TARGET: Final = variable_of(Client.SYMLINK_TARGET)
NO_HEADERS: Final[dict[str, str]] = {}
VERSION_ID: Final = "version-id"  # the parameter
EXTRACT_ARCHIVE: Final = "extract-archive"  # likewise
DELETED_TYPE: Final = "application/x-deleted;swift_versions_deleted=1"  # of delete markers
UNKNOWN_TYPE: Final = "application/octet-stream"
DELETE_AT_MAX: Final = 9_999_999_999


class ObjectHandler:
    def __init__(self, context: ProxyContext, quotas: Quotas) -> None:
        self._objects = context.objects
        self._lookup = context.lookup
        self._quotas = quotas
        self.copy: Callable[[SwiftRequest], Response]  # set by the application
        self.symlinks: Symlinks  # likewise
        self.resolver: Resolver  # likewise
        self.versions: ObjectVersioning  # likewise
        self.extract: Callable[[SwiftRequest], Response]  # likewise
        self.put_manifest: Callable[[SwiftRequest], Response]  # likewise
        self.delete_manifest: Callable[[SwiftRequest], Response]  # likewise
        self._limits = context.cluster.limits
        self._clock = context.runtime.clock
        self._random = context.runtime.random
        self._opens_expired = context.config.objects.allow_open_expired

    def get(self, request: SwiftRequest) -> Response:
        """200, 206, 304, 404, 412, 416."""
        path = request.storage_resource
        container = self._container(request, path)
        command = self._get_command(request, path, container)
        opened = self._objects.open(command)
        if not opened.info.stands_for_others:
            return self._rendered(opened, command)
        resolved = self.resolver.open(request, command, opened)
        response = self._rendered(resolved.found, resolved.command)
        response.headers = with_changes(response.headers, resolved.headers)
        return response

    def head(self, request: SwiftRequest) -> Response:
        """As GET, without the body; ranges are ignored."""
        path = request.storage_resource
        container = self._container(request, path)
        command = self._get_command(request, path, container)
        info, changes = self._objects.head(command), NO_HEADERS
        if info.stands_for_others:
            resolved = self.resolver.head(request, command, info)
            info, changes = resolved.found, resolved.headers
        headers = object_headers(info) if not info.version else versioned_headers(info, command)
        headers[Client.CONTENT_LENGTH] = str(info.size)
        if not changes:
            return Response(200, headers)
        return Response(206 if Client.CONTENT_RANGE in changes else 200, with_changes(headers, changes))

    def put(self, request: SwiftRequest) -> Response:
        """201, 202 if newer data is stored already, 400, 404 without container, 412, 413, 422, 503 without a quorum."""
        environ = request.environ
        if "HTTP_X_COPY_FROM" in environ:
            return self.copy(request)
        if environ["QUERY_STRING"]:
            params = request.params
            if VERSION_ID in params:
                return self.versions.restore(request)
            if params.get("multipart-manifest") == "put":
                return self.put_manifest(request)
            if EXTRACT_ARCHIVE in params:
                return self.extract(request)
        if STATIC_LARGE_OBJECT in environ:
            raise HttpError(400, f"{Client.STATIC_LARGE_OBJECT} is not for clients to set")
        return self.store(request)

    def store(self, request: SwiftRequest) -> Response:
        """The PUT of an object, also of one that the store itself has made up."""
        path, environ, length = request.storage_resource, request.environ, request.content_length
        check_path(self._limits, path)
        if length is None and not request.chunked:
            raise HttpError(411, "Missing Content-Length header.")
        check_upload_size(self._limits, length)
        conditions = write_conditions(request)
        metadata = metadata_of(request, self._limits)
        if STATIC_LARGE_OBJECT in environ:
            given = metadata.given | {Client.STATIC_LARGE_OBJECT: environ[STATIC_LARGE_OBJECT]}
            metadata = msgspec.structs.replace(metadata, given=given)
        if SYMLINK_TARGET in environ:
            metadata = self.symlinks.metadata_of(request, path, metadata)
        container, account = self._lookup.container_and_account(path, request.transaction_id)
        authorize(request, container, path, container.write_acl)
        timestamp = request.timestamp(self._clock)
        if container.sysmeta:
            metadata = container.newly_locked(metadata, self._clock.now())
        command = PutObject(
            path=path,
            policy_index=policy_index(request, container),
            timestamp=timestamp,
            body=environ["wsgi.input"],
            length=length,
            length_max=self._limits.max_file_size,
            content_type=content_type(environ.get("CONTENT_TYPE"), environ, path.object),
            metadata=metadata,
            delete_at=delete_at(environ, self._clock),
            expected_md5=environ.get("HTTP_ETAG", "").strip().strip('"').lower(),
            conditions=conditions,
            ask_first=conditions is not None and "HTTP_EXPECT" in environ,
            version_mode=container.version_mode if container.sysmeta else "",
            transaction_id=request.transaction_id,
            seal=container_seal(container) if container.sysmeta else None,
        )
        if container.sysmeta:
            self.versions.before_write(request, path, container, conditions)
        if container.metadata or account.metadata or account.sysmeta:
            with self._quotas.reserve(request, path, container, account, length) as body:
                stored = self._objects.put(msgspec.structs.replace(command, body=body))
        else:
            stored = self._objects.put(command)
        if stored.superseded:
            return Response(202)
        headers = {Client.ETAG: stored.etag, Client.LAST_MODIFIED: stored.timestamp.http_date}
        return Response(201, headers if not stored.version else headers | version_header(stored.version))

    def post(self, request: SwiftRequest) -> Response:
        """202, 404, 412. Replaces all metadata; the type stays unless one is given.

        307 of a link, which has the metadata now: clients may have meant its target.
        """
        path, environ = request.storage_resource, request.environ
        if SYMLINK_TARGET in environ:
            raise HttpError(400, "A PUT request is required to set a symlink target")
        if environ["QUERY_STRING"] and VERSION_ID in request.params:
            raise HttpError(400, "Versions cannot be changed")
        metadata = metadata_of(request, self._limits)
        container = self._container(request, path, writing=True)
        given = environ.get("CONTENT_TYPE")
        command = PostObject(
            path=path,
            policy_index=policy_index(request, container),
            timestamp=request.timestamp(self._clock),
            content_type=content_type(given, environ, path.object) if given else "",
            metadata=metadata,
            delete_at=delete_at(environ, self._clock),
            open_expired=self._may_open_expired(request),
            conditions=write_conditions(request),
            transaction_id=request.transaction_id,
            sealed=is_marked(container),
        )
        system = self._objects.post(command).system
        return self.symlinks.redirect(path, system) if system else Response(202)

    def delete(self, request: SwiftRequest) -> Response:
        """204, 404, 409 if something newer is stored, 412."""
        if request.environ["QUERY_STRING"] and request.params.get("multipart-manifest") == "delete":
            return self.delete_manifest(request)
        path = request.storage_resource
        container = self._container(request, path, writing=True)
        guard, timestamp = request.header(Client.IF_DELETE_AT), request.timestamp(self._clock)
        if guard is not None:
            _seconds(guard, Client.IF_DELETE_AT)
        index = policy_index(request, container)
        conditions = write_conditions(request)
        command = DeleteObject(path, index, timestamp, guard, request.transaction_id, conditions=conditions)
        if container.sysmeta or request.environ["QUERY_STRING"]:
            return self.versions.delete(request, container, command)
        self._objects.delete(command)
        return Response(204)

    def _container(self, request: SwiftRequest, path: ResourcePath, *, writing: bool = False) -> ContainerInfo:
        """The container the request may use. Raises HttpError 401, 403, and CoreError."""
        info = self._lookup.container(path, request.transaction_id)
        authorize(request, info, path, info.write_acl if writing else info.read_acl)
        return info

    def _get_command(self, request: SwiftRequest, path: ResourcePath, container: ContainerInfo) -> GetObject:
        environ = request.environ
        version = self.versions.asked(request) if environ["QUERY_STRING"] else ""
        return GetObject(
            path=path,
            policy_index=policy_index(request, container),
            ranges=environ.get("HTTP_RANGE", ""),
            conditions=conditions_of(environ),
            newest="HTTP_X_NEWEST" in environ and is_true(environ["HTTP_X_NEWEST"]),
            open_expired=bool(version)
            or "HTTP_X_BACKEND_OPEN_EXPIRED" in environ
            or ("HTTP_X_OPEN_EXPIRED" in environ and self._may_open_expired(request)),
            for_replication="HTTP_X_BACKEND_REPLICATION" in environ,
            version=version,
            transaction_id=request.transaction_id,
        )

    def _may_open_expired(self, request: SwiftRequest) -> bool:
        """Whether an owner reads, or brings back, what has expired and is not deleted yet."""
        return self._opens_expired and request.owner and is_true(request.header(Client.OPEN_EXPIRED))

    def _rendered(self, opened: OpenedObject, command: GetObject) -> Response:
        info = opened.info
        headers = object_headers(info) if not info.version else versioned_headers(info, command)
        if opened.parts:
            boundary = f"{self._random.getrandbits(128):032x}"
            body = MultipartBody(opened.parts, info.size, info.content_type or UNKNOWN_TYPE, boundary)
            headers[Client.CONTENT_TYPE] = f"multipart/byteranges;boundary={boundary}"
            return Response(206, headers, body)
        if opened.part is None:
            return Response(200, headers, opened.body)
        headers[Client.CONTENT_RANGE] = opened.part.content_range(opened.info.size)
        return Response(206, headers, opened.body)


def authorize(
    request: SwiftRequest, info: ContainerInfo, path: ResourcePath, acl: str | None, method: str = ""
) -> None:
    """Check access by the container's list. Raises HttpError 401, 403, and CoreError without a container."""
    existence = info.existence
    if existence is UNKNOWN:
        raise QuorumNotReached(path)
    request.container = info
    request.check_access(acl, path, method)
    if existence is not PRESENT:
        raise ContainerNotFound(path)


def conditions_of(environ: Environ) -> Conditions | None:
    if environ.keys().isdisjoint(CONDITIONS):
        return None
    return Conditions(**{field: environ[variable] for variable, field in CONDITIONS.items() if variable in environ})


def write_conditions(request: SwiftRequest) -> WriteConditions | None:
    """In which state of its object a write is to be done; None for any. Raises HttpError 400."""
    return None if request.environ.keys().isdisjoint(CONDITIONS) else write_conditions_of(request)


def policy_index(request: SwiftRequest, container: ContainerInfo) -> int:
    """The container's, unless a part of the store looks for what lies in the wrong place."""
    given = request.environ.get("HTTP_X_BACKEND_STORAGE_POLICY_INDEX")
    return container.policy_index if given is None else int(given)


def metadata_of(request: SwiftRequest, limits: Limits) -> StoredMetadata:
    """What a PUT or POST stores beside the body. Raises HttpError 400."""
    environ = request.environ
    found = {}
    for variable, value in environ.items():
        if variable.startswith("HTTP_X_OBJECT_"):
            name = title_of(variable)
            if name.startswith(FAMILIES):
                found[name] = value
    given = {name: environ[variable] for variable, name in GIVEN if variable in environ}
    if given.get(Client.OBJECT_MANIFEST):
        check_dynamic_manifest(request, given[Client.OBJECT_MANIFEST])
    if not found:
        return StoredMetadata(given=given) if given else NO_METADATA
    check_metadata(limits, META, found, text_only=False)
    user, system, transient = (
        {name[len(prefix) :]: value for name, value in found.items() if name.startswith(prefix)} for prefix in FAMILIES
    )
    return StoredMetadata(user, system, transient, given)


def object_headers(info: StoredObjectInfo) -> dict[str, str]:
    """An object as clients see it; its size is for the body to tell."""
    headers = {
        Client.CONTENT_TYPE: info.content_type,
        Client.ETAG: info.etag,
        Client.LAST_MODIFIED: info.last_modified,
        Client.TIMESTAMP: info.timestamp,
        Client.ACCEPT_RANGES: "bytes",
    }
    if info.delete_at is not None:
        headers[Client.DELETE_AT] = str(info.delete_at)
    metadata = info.metadata
    if metadata is not NO_METADATA:
        headers.update(metadata.given)
        for name, value in metadata.user.items():
            headers[META + name] = value
    return headers


def version_header(version: str) -> dict[str, str]:
    """The id of a version that is kept; the plain line's is not shown."""
    return {Client.OBJECT_VERSION_ID: public_id(version)} if version else {}


def versioned_headers(info: StoredObjectInfo, command: GetObject) -> dict[str, str]:
    """An object that is kept; who asked for no version is told where this one is."""
    headers = object_headers(info) | version_header(info.version)
    if not command.version:
        location = f"{location_of(command.path)}?{VERSION_ID}={headers[Client.OBJECT_VERSION_ID]}"
        headers[Client.CONTENT_LOCATION] = location
    return headers


def location_of(path: ResourcePath) -> str:
    """Where clients find a resource, relative to the endpoint."""
    return f"/v1{path.quoted}"


def is_manifest_wanted(request: SwiftRequest) -> bool:
    """Whether the client wants a manifest and not what it makes."""
    return bool(request.environ["QUERY_STRING"]) and request.params.get("multipart-manifest") == "get"


def with_changes(headers: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """The headers with others added or, by an empty value, taken away."""
    return {name: value for name, value in (headers | changes).items() if value or name not in changes}


def content_type(given: str | None, environ: Environ, name: str) -> str:
    """The type that is given or, without one or when asked to, the one that the name suggests.

    Without the parameters that are the store's own: a client's would make listings lie about sizes.
    Raises HttpError 400 for one that is not UTF-8, which no listing could show.
    """
    if given and not is_utf8(given):
        raise HttpError(400, f"{Client.CONTENT_TYPE} must be valid UTF-8")
    if given:
        given = without_own_parameters(given)
    if given and not is_true(environ.get("HTTP_X_DETECT_CONTENT_TYPE")):
        return given
    return mimetypes.guess_type(name, strict=False)[0] or UNKNOWN_TYPE


def delete_at(environ: Environ, clock: Clock) -> int | None:
    """When the object expires, in seconds since the epoch; None if never. Raises HttpError 400."""
    after, at = environ.get("HTTP_X_DELETE_AFTER"), environ.get("HTTP_X_DELETE_AT")
    if after is None and (at is None or is_true(environ.get("HTTP_X_REMOVE_DELETE_AT"))):
        return None
    now = clock.now()
    if after is not None:
        header, moment = Client.DELETE_AFTER, int(now) + _seconds(after, Client.DELETE_AFTER)
    else:
        header, moment = Client.DELETE_AT, _seconds(at or "", Client.DELETE_AT)
    if moment <= now:
        raise HttpError(400, f"{header} in past")
    return min(moment, DELETE_AT_MAX)


def _seconds(text: str, header: str) -> int:
    digits = text.strip()
    if digits.startswith("-") and digits[1:].isdecimal():
        raise HttpError(400, f"{header} in past")
    if not (digits.isascii() and digits.isdecimal()):
        raise HttpError(400, f"Non-integer {header}")
    # Measured first: int() takes long over thousands of digits.
    return int(digits) if len(digits) <= 18 else DELETE_AT_MAX
