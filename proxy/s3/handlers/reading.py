"""Objects as readers get them: what links lead to, and what manifests make, whichever API has written them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec import Struct

from objstore.http.messages import Environ
from objstore.http.ranges import ByteRange, parse_ranges, resolve_ranges
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import composite_head, open_composite, open_parts
from objstore.proxy.core.composite_body import Throttle, read_manifest
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.dynamic_manifest import DynamicManifestReader, is_dynamic
from objstore.proxy.core.errors import InvalidRange, ObjectFacts, ObjectNotFound, PreconditionFailed
from objstore.proxy.core.info import ContainerInfo, StoredObjectInfo
from objstore.proxy.core.links import LinkedPartSource, follow
from objstore.proxy.core.listing import ListedEntry
from objstore.proxy.core.manifest import Part, is_composite
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.core.versions import NULL, public_id, version_of
from objstore.proxy.s3.errors import S3Error
from objstore.proxy.s3.operations import Operation
from objstore.proxy.s3.request import S3Request
from objstore.rate_limiter import RateLimiter
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.encryption.envelope import CustomerKey
    from objstore.proxy.s3.access import Authorizer

T = TypeVar("T")
PART_NUMBER_MAX: Final = 10_000


class Reading(Struct, frozen=True):
    """An object that a client reads. part: the one that it has asked for alone, of so many `parts_count`."""

    opened: OpenedObject
    part: Part | None = None
    parts_count: int = 0


class ObjectReader:
    """Reads for clients, with their rights. Raises S3Error and CoreError."""

    def __init__(self, context: ProxyContext, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._objects = context.objects
        self._containers = context.containers
        self._lookup = context.lookup
        self._config = context.config.large_objects
        self._clock = context.runtime.clock
        self._page_max = context.cluster.limits.container_listing_limit

    def open(self, request: S3Request, command: GetObject, number: int | None = None) -> Reading:
        """The object and its body; `number`: one of its parts alone."""
        return explained(request, command, lambda: self._open(request, command, number))

    def head(self, request: S3Request, command: GetObject) -> StoredObjectInfo:
        """The object without its body."""
        return explained(request, command, lambda: self._head(request, command))

    def _open(self, request: S3Request, command: GetObject, number: int | None) -> Reading:
        try:
            opened = self._objects.open(command)
        except InvalidRange as error:
            if error.facts.size or not command.ranges.partition("=")[2].strip().startswith("-"):
                raise
            opened = self._objects.open(msgspec.structs.replace(command, ranges=""))  # the last bytes of nothing
        if opened.info.stands_for_others:
            return self._made(request, command, opened, number)
        return Reading(opened) if number is None else _only_part(opened, number)

    def _made(self, request: S3Request, command: GetObject, opened: OpenedObject, number: int | None) -> Reading:
        source = self._source(request, command.customer_key)
        followed = follow(opened, command, self._objects.open, source.policy_index)
        opened, command = followed.found, followed.command
        if is_composite(opened.info):
            if number is None:
                return Reading(open_composite(command, opened, source, self._throttle()))
            whole, parts = read_manifest(command.path, opened)
            part, wanted = part_of(parts, number)
            command = msgspec.structs.replace(command, ranges=wanted.header)
            return Reading(open_parts(command, whole, parts, source, self._throttle()), part, len(parts))
        if is_dynamic(opened.info):
            opened = self._dynamic(request, source).open(command, opened, self._throttle())
        return Reading(opened) if number is None else _only_part(opened, number)

    def _head(self, request: S3Request, command: GetObject) -> StoredObjectInfo:
        info = self._objects.head(command)
        if not info.stands_for_others:
            return info
        source = self._source(request, command.customer_key)
        followed = follow(info, command, self._objects.head, source.policy_index)
        info, command = followed.found, followed.command
        if is_composite(info):
            return composite_head(command, info)
        return self._dynamic(request, source).head(command, info).info if is_dynamic(info) else info

    def stored(self, request: S3Request, command: GetObject) -> StoredObjectInfo:
        """The object as it is stored, a link or a manifest itself."""
        return explained(request, command, lambda: self._objects.head(command))

    def parts(self, request: S3Request, command: GetObject) -> tuple[StoredObjectInfo, list[Part]]:
        """The object, and the parts of which it was made; none of one that came whole."""

        def read() -> tuple[StoredObjectInfo, list[Part]]:
            info = self._objects.head(command)
            if not is_composite(info):
                return self._head(request, command), []
            return read_manifest(command.path, self._objects.open(command))

        return explained(request, command, read)

    def _source(self, request: S3Request, key: CustomerKey | None) -> LinkedPartSource:
        def may_read(path: ResourcePath, container: ContainerInfo) -> None:
            self._authorizer.check(request, Operation.GET_OBJECT, path, container)

        return LinkedPartSource(self._objects, self._lookup, request.transaction_id, may_read, customer_key=key)

    def _dynamic(self, request: S3Request, source: LinkedPartSource) -> DynamicManifestReader:
        def list_objects(command: GetContainer) -> list[ListedEntry]:
            container = self._lookup.container(command.path, request.transaction_id)
            self._authorizer.check(request, Operation.LIST_OBJECTS_V2, command.path, container)
            return self._containers.list(command)

        return DynamicManifestReader(list_objects, self._page_max, source)

    def _throttle(self) -> Throttle:
        config = self._config
        return Throttle(
            limiter=RateLimiter(config.rate_limit_segments_per_sec, self._clock),
            after_parts=config.rate_limit_after_segment,
            under_bytes=config.rate_limit_under_size,
            seconds_max=config.max_get_time,
        )


def explained(request: S3Request, command: GetObject, read: Callable[[], T]) -> T:
    """What `read` gives; what the core says of an object is said in the words of the API."""
    try:
        return read()
    except ObjectNotFound as error:
        if not command.version or error.path != command.path:
            raise
        if not error.is_marker:
            raise S3Error("NoSuchVersion", Key=request.key, VersionId=public_id(command.version)) from None
        headers = {"x-amz-delete-marker": "true", "x-amz-version-id": public_id(command.version), "Allow": "DELETE"}
        if error.deleted_at:
            headers["Last-Modified"] = Timestamp.parse(error.deleted_at).http_date
        raise S3Error("MethodNotAllowed", headers=headers, Method=request.method, ResourceType="DeleteMarker") from None
    except InvalidRange as error:
        size = error.facts.size or 0
        headers = {"Content-Range": f"bytes */{size}"}
        raise S3Error("InvalidRange", headers=headers, ActualObjectSize=size, RangeRequested=command.ranges) from None
    except PreconditionFailed:
        conditions = command.conditions
        name = "If-Match" if conditions is not None and conditions.if_match is not None else "If-Unmodified-Since"
        raise S3Error("PreconditionFailed", Condition=name) from None


def version_asked(request: S3Request) -> str:
    """The version that a request names, "" for what is current. Raises S3Error InvalidArgument."""
    identifier = request.params.get("versionId")
    return "" if identifier is None else given_version(identifier)


def given_version(identifier: str) -> str:
    """The version with this id. Raises S3Error InvalidArgument."""
    try:
        return version_of(identifier)
    except ValueError:
        reason = "Invalid version id specified"
        raise S3Error("InvalidArgument", reason, ArgumentName="versionId", ArgumentValue=identifier) from None


def version_headers(container: ContainerInfo, version: str) -> dict[str, str]:
    """The id of a version, in a bucket that has or had any."""
    return {"x-amz-version-id": public_id(version or NULL)} if container.sysmeta and container.versioning else {}


def asked_range(environ: Environ) -> str:
    """The range that a request asks for; "" for the whole: what is no single range of bytes asks for nothing."""
    value: str | None = environ.get("HTTP_RANGE")
    if value is None:
        return ""
    specs = parse_ranges(value)
    return value if specs is not None and len(specs) == 1 else ""


def range_within(ranges: str, info: StoredObjectInfo) -> ByteRange | None:
    """Where in an object an asked range lies, None for all of it. Raises InvalidRange."""
    specs = parse_ranges(ranges) if ranges else None
    if specs is None:
        return None
    found = resolve_ranges(specs, info.size)
    if found:
        return found[0]
    if not info.size and specs[0].first is None and specs[0].last:
        return None  # the last bytes of nothing
    raise InvalidRange(ObjectFacts(info.etag, info.timestamp, info.last_modified, info.size))


def part_number(request: S3Request) -> int | None:
    """The part that a read asks for alone. Raises S3Error."""
    text = request.params.get("partNumber")
    if text is None:
        return None
    if "HTTP_RANGE" in request.environ:
        raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    return given_part_number(text)


def given_part_number(text: str) -> int:
    """Raises S3Error InvalidArgument for no number of a part."""
    if text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= PART_NUMBER_MAX:
        return int(text)
    reason = f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive"
    raise S3Error("InvalidArgument", reason, ArgumentName="partNumber", ArgumentValue=text)


def _only_part(opened: OpenedObject, number: int) -> Reading:
    """An object that came whole is its own first part."""
    info = opened.info
    if number != 1:
        opened.close()
        raise S3Error("InvalidPartNumber", PartNumberRequested=number, ActualPartCount=1)
    if not info.size:
        return Reading(opened)
    return Reading(msgspec.structs.replace(opened, part=ByteRange(0, info.size - 1)))


def part_of(parts: list[Part], number: int) -> tuple[Part, ByteRange]:
    """A part of a manifest, and where in the whole it lies. Raises S3Error InvalidPartNumber."""
    first = 0
    for position, part in enumerate(parts, 1):
        if (part.number or position) == number:
            return part, ByteRange(first, first + part.length - 1)
        first += part.length
    raise S3Error("InvalidPartNumber", PartNumberRequested=number, ActualPartCount=len(parts))
