"""Links of the Swift API: made by a PUT with X-Symlink-Target, followed by GET, HEAD and COPY, shown by ?symlink=get.

    X-Symlink-Target: CONTAINER/OBJECT          percent-quoted
    X-Symlink-Target-Account: ACCOUNT           percent-quoted; without it, the link's own
    X-Symlink-Target-Etag: ETAG                 makes the link static

A reader needs the right to read the target's container as well as the link's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic
from urllib.parse import quote

import msgspec
from msgspec import Struct

from objstore.errors import StoreError
from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response, variable_of
from objstore.limits import check_path
from objstore.paths import ResourcePath
from objstore.proxy.core import links
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.links import Found, Link
from objstore.proxy.core.lookup import Lookup
from objstore.proxy.core.manifest import LISTED_ETAG, composite_info, is_composite
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.swift import errors
from objstore.proxy.swift.handlers.copy import account_in, object_in
from objstore.proxy.swift.handlers.object import authorize, location_of, policy_index
from objstore.proxy.swift.request import SwiftRequest
from objstore.rows import EMPTY_ETAG, etag_with_fields

TARGET: Final = variable_of(Client.SYMLINK_TARGET)
TARGET_ETAG: Final = variable_of(Client.SYMLINK_TARGET_ETAG)
LINK_TYPE: Final = "application/symlink"
MOVED: Final = "The POST was applied to a link. POST to its target to change that one's metadata."


class Symlinks:
    """Follows links with the client's rights, and turns a PUT into one of a link."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects = context.objects
        self._lookup = context.lookup
        self._limits = context.cluster.limits

    def open(self, request: SwiftRequest, command: GetObject, opened: OpenedObject) -> Resolved[OpenedObject]:
        """What the client wants of an opened object that may be a link. Raises HttpError 401, 403, and CoreError."""
        return self._resolve(request, command, opened, opened.info, self._objects.open)

    def head(self, request: SwiftRequest, command: GetObject, info: StoredObjectInfo) -> Resolved[StoredObjectInfo]:
        """As `open`."""
        return self._resolve(request, command, info, info, self._objects.head)

    def _resolve(
        self,
        request: SwiftRequest,
        command: GetObject,
        found: Found,
        info: StoredObjectInfo,
        read: Callable[[GetObject], Found],
    ) -> Resolved[Found]:
        link = links.link_of(info.metadata.system)
        if link is None:
            return Resolved(found, command)
        if not is_wanted_itself(request):
            policies = PolicyOfTarget(self._lookup, request, command.path)
            try:
                followed = links.follow(found, command, read, policies)
            except StoreError as error:
                raise errors.with_headers(error, policies.headers) from error
            return Resolved(followed.found, followed.command, policies.headers)
        return as_stored(Resolved(found, command, link_headers(link)), read)

    def metadata_of(self, request: SwiftRequest, path: ResourcePath, metadata: StoredMetadata) -> StoredMetadata:
        """What a PUT with X-Symlink-Target stores. Raises HttpError 400, 409, 412, and what reading the target does."""
        environ = request.environ
        if request.content_length or (request.chunked and request.body.read(1)):
            raise HttpError(400, "Symlink requests require a zero byte body")
        account = account_in(request.header(Client.SYMLINK_TARGET_ACCOUNT), "")
        target = object_in(Client.SYMLINK_TARGET, environ[TARGET], account or path.account)
        check_path(self._limits, target)
        if target == path:
            raise HttpError(400, "Symlink cannot target itself")
        link, content_type = Link(account, target.container, target.object), LINK_TYPE
        made: dict[str, str | int] = {}  # what a listing shows of the large object that a static link leads to
        if etag := environ.get(TARGET_ETAG, "").strip().strip('"'):
            info = self._static_target(request, target, etag)
            if is_composite(info):
                info = composite_info(target, info)
                made = {"slo_etag": f'"{info.etag}"'}
            link, content_type = msgspec.structs.replace(link, etag=etag, size=str(info.size)), info.content_type
        if not environ.get("CONTENT_TYPE"):
            environ["CONTENT_TYPE"] = content_type
        listed = etag_with_fields(EMPTY_ETAG, listed_fields(link, path.account) | made)
        return msgspec.structs.replace(metadata, system=metadata.system | link.metadata | {LISTED_ETAG: listed})

    def _static_target(self, request: SwiftRequest, target: ResourcePath, etag: str) -> StoredObjectInfo:
        """What has this ETag now. Raises HttpError 409 if it is absent or another."""
        policies = PolicyOfTarget(self._lookup, request, target)
        head = self._objects.head
        try:
            command = GetObject(target, policies(target), newest=True, transaction_id=request.transaction_id)
            return links.follow(head(command), command, head, policies, etag=etag, static_only=True).found
        except (ContainerNotFound, ObjectNotFound):
            raise HttpError(409, f"{Client.SYMLINK_TARGET} does not exist", policies.headers) from None
        except StoreError as error:
            raise errors.with_headers(error, policies.headers) from error

    def copied_metadata(
        self, request: SwiftRequest, path: ResourcePath, source: OpenedObject, metadata: StoredMetadata
    ) -> StoredMetadata:
        """What a copy of a link, or to one, stores: as a PUT with the headers of the link that are not given anew."""
        environ, link = request.environ, links.link_of(source.info.metadata.system)
        if link is not None:
            for name, value in link_headers(link).items():
                environ.setdefault(variable_of(name), value)
            environ.setdefault("CONTENT_TYPE", source.info.content_type)
        if TARGET not in environ:
            return metadata
        if source.length:
            raise HttpError(400, "Symlink requests require a zero byte body")
        return self.metadata_of(request, path, metadata)

    def redirect(self, path: ResourcePath, system: Mapping[str, str]) -> Response:
        """The answer to a POST of a link, whose metadata it has changed: clients may have meant the target's."""
        link = links.link_of(system)
        assert link is not None
        headers = {Client.LOCATION: location_of(link.target(path.account))}
        if link.etag:
            headers[Client.SYMLINK_TARGET_ETAG] = link.etag
        return errors.page(HttpError(307, MOVED, headers))


class PolicyOfTarget:
    """Gives the policies of targets that the client may read, and remembers how far it has come."""

    def __init__(self, lookup: Lookup, request: SwiftRequest, path: ResourcePath) -> None:
        self._lookup = lookup
        self._request = request
        self._reached = path

    def __call__(self, path: ResourcePath) -> int:
        """Raises HttpError 401, 403, and CoreError."""
        self._reached, request = path, self._request
        container = self._lookup.container(path, request.transaction_id)
        authorize(request, container, path, container.read_acl, "GET")
        return policy_index(request, container)

    @property
    def headers(self) -> dict[str, str]:
        """Tell the client where it has been led."""
        return {Client.CONTENT_LOCATION: location_of(self._reached)}


class Resolved(Struct, Generic[Found], frozen=True):
    """What a client wants of the link or manifest that it named, and the command that reads it.

    headers: add to those of the object; an empty one takes that header away.
    """

    found: Found
    command: GetObject
    headers: dict[str, str] = {}


def as_stored(resolved: Resolved[Found], read: Callable[[GetObject], Found]) -> Resolved[Found]:
    """The link or manifest itself, with the conditions and ranges of the command weighed for it. Raises CoreError."""
    command = resolved.command
    if not (command.ranges or command.conditions):
        return resolved
    if isinstance(resolved.found, OpenedObject):
        resolved.found.close()
    command = msgspec.structs.replace(command, as_stored=True)
    return Resolved(read(command), command, resolved.headers)


def is_wanted_itself(request: SwiftRequest) -> bool:
    """Whether the client wants the link and not its target."""
    return bool(request.environ["QUERY_STRING"]) and request.params.get("symlink") == "get"


def link_headers(link: Link) -> dict[str, str]:
    """A link as clients see it."""
    headers = {Client.SYMLINK_TARGET: quote(f"{link.container}/{link.object}")}
    if link.account:
        headers[Client.SYMLINK_TARGET_ACCOUNT] = quote(link.account)
    if link.etag:
        headers |= {Client.SYMLINK_TARGET_ETAG: link.etag, Client.SYMLINK_TARGET_BYTES: link.size}
    return headers


def listed_fields(link: Link, own_account: str) -> dict[str, str | int]:
    """What a listing shows beside the other fields of a link."""
    fields: dict[str, str | int] = {"symlink_path": location_of(link.target(own_account))}
    if link.etag:
        fields |= {"symlink_etag": link.etag, "symlink_bytes": int(link.size)}
    return fields
