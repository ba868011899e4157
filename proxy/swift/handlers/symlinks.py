"""Links of the Swift API: made by a PUT with X-Symlink-Target, followed by GET, HEAD and COPY, shown by ?symlink=get.

    X-Symlink-Target: CONTAINER/OBJECT          percent-quoted
    X-Symlink-Target-Account: ACCOUNT           percent-quoted; without it, the link's own
    X-Symlink-Target-Etag: ETAG                 makes the link static

A reader needs the right to read the target's container as well as the link's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic
from urllib.parse import quote

import msgspec
from msgspec import Struct

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.http.messages import variable_of
from objstore.limits import check_path
from objstore.paths import ResourcePath
from objstore.proxy.core import links
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.links import Found, Link
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.swift.handlers.copy import account_in, object_in
from objstore.proxy.swift.handlers.object import authorize, location_of, policy_index
from objstore.proxy.swift.request import SwiftRequest
from objstore.rows import etag_with_fields

TARGET: Final = variable_of(Client.SYMLINK_TARGET)
TARGET_ETAG: Final = variable_of(Client.SYMLINK_TARGET_ETAG)
LINK_TYPE: Final = "application/symlink"
EMPTY_MD5: Final = "d41d8cd98f00b204e9800998ecf8427e"
LISTED_ETAG_KEY: Final = Sysmeta.LISTED_ETAG.removeprefix(Sysmeta.OBJECT_PREFIX)
LISTED_SIZE_KEY: Final = Sysmeta.LISTED_SIZE.removeprefix(Sysmeta.OBJECT_PREFIX)


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
        link = links.link_of(info)
        if link is None:
            return Resolved(found, command)
        if not is_wanted_itself(request):
            followed = links.follow(found, command, read, self._policy_of(request))
            location = {Client.CONTENT_LOCATION: location_of(followed.command.path)}
            return Resolved(followed.found, followed.command, location)
        if command.ranges or command.conditions:
            command = msgspec.structs.replace(command, as_stored=True)
            found = read(command)
        return Resolved(found, command, link_headers(link))

    def _policy_of(self, request: SwiftRequest) -> Callable[[ResourcePath], int]:
        """Gives the policy of a target if the client may read it."""

        def policy_of(path: ResourcePath) -> int:
            container = self._lookup.container(path, request.transaction_id)
            authorize(request, container, path, container.read_acl, "GET")
            return policy_index(request, container)

        return policy_of

    def metadata_of(self, request: SwiftRequest, path: ResourcePath, metadata: StoredMetadata) -> StoredMetadata:
        """What a PUT with X-Symlink-Target stores. Raises HttpError 400, 409, 412, and what reading the target does."""
        environ = request.environ
        if request.content_length or (request.chunked and request.body.read(1)):
            raise HttpError(400, "Symlink requests require a zero byte body")
        account = account_in(request.header(Client.SYMLINK_TARGET_ACCOUNT), path.account)
        target = object_in(Client.SYMLINK_TARGET, environ[TARGET], account)
        check_path(self._limits, target)
        if target == path:
            raise HttpError(400, "Symlink cannot target itself")
        etag = environ.get(TARGET_ETAG, "").strip().strip('"')
        link = self._static_link(request, target, etag) if etag else Link(target)
        if not environ.get("CONTENT_TYPE"):
            environ["CONTENT_TYPE"] = LINK_TYPE
        system = metadata.system | link.metadata | {LISTED_ETAG_KEY: etag_with_fields(EMPTY_MD5, listed_fields(link))}
        return msgspec.structs.replace(metadata, system=system)

    def _static_link(self, request: SwiftRequest, target: ResourcePath, etag: str) -> Link:
        """The link to a target that has this ETag now. Raises HttpError 409 if it is absent."""
        policy_of = self._policy_of(request)
        try:
            command = GetObject(target, policy_of(target), newest=True, transaction_id=request.transaction_id)
            first = self._objects.head(command)
            info = links.follow(first, command, self._objects.head, policy_of, etag=etag, static_only=True).found
        except (ContainerNotFound, ObjectNotFound):
            raise HttpError(409, f"{Client.SYMLINK_TARGET} does not exist") from None
        return Link(target, etag, info.metadata.system.get(LISTED_SIZE_KEY, str(info.size)))


class Resolved(Struct, Generic[Found], frozen=True):
    """The link or the target that a client wants, the command that reads it, and headers about the link."""

    found: Found
    command: GetObject
    headers: dict[str, str] = {}


def is_wanted_itself(request: SwiftRequest) -> bool:
    """Whether the client wants the link and not its target."""
    return bool(request.environ["QUERY_STRING"]) and request.params.get("symlink") == "get"


def link_headers(link: Link) -> dict[str, str]:
    """A link as clients see it."""
    target = link.target
    headers = {
        Client.SYMLINK_TARGET: quote(f"{target.container}/{target.object}"),
        Client.SYMLINK_TARGET_ACCOUNT: quote(target.account),
    }
    if link.etag:
        headers |= {Client.SYMLINK_TARGET_ETAG: link.etag, Client.SYMLINK_TARGET_BYTES: link.size}
    return headers


def listed_fields(link: Link) -> dict[str, str | int]:
    """What a listing shows beside the other fields of a link."""
    fields: dict[str, str | int] = {"symlink_path": location_of(link.target)}
    if link.etag:
        fields |= {"symlink_etag": link.etag, "symlink_bytes": int(link.size)}
    return fields
