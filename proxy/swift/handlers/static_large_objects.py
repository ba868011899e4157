"""Static large objects of the Swift API, as they are read: GET, HEAD, and the sources of copies.

    ?multipart-manifest=get               the manifest; with &format=raw as a client would send it
    ?part-number=N                        one segment alone, and X-Parts-Count

Segments are read with the client's rights.
"""

from __future__ import annotations

from hashlib import md5
from typing import Final

import msgspec

from objstore.headers import Client, Sysmeta
from objstore.http.errors import HttpError
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import composite_head, open_composite, open_parts
from objstore.proxy.core.composite_body import read_manifest
from objstore.proxy.core.conditions import check_read_conditions
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import PartUnavailable
from objstore.proxy.core.info import ContainerInfo, StoredObjectInfo
from objstore.proxy.core.links import LinkedPartSource
from objstore.proxy.core.manifest import COMPOSITE_ETAG, COMPOSITE_SIZE, Part
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.swift.handlers.dynamic_large_objects import quoted_etag, rights_of, throttle_of
from objstore.proxy.swift.handlers.manifest_input import raw_manifest
from objstore.proxy.swift.handlers.object import object_headers, version_header
from objstore.proxy.swift.handlers.symlinks import Resolved, as_stored
from objstore.proxy.swift.request import SwiftRequest

JSON_TYPE: Final = "application/json; charset=utf-8"
PART_NUMBER: Final = "part-number"
# Whatever the manifest says of itself: a copy of what it makes is an object like others.
_OWN: Final = frozenset(
    {COMPOSITE_SIZE, COMPOSITE_ETAG}
    | {
        name.removeprefix(Sysmeta.OBJECT_PREFIX)
        for name in (Sysmeta.LISTED_ETAG, Sysmeta.LISTED_SIZE, Sysmeta.LISTED_CONTENT_TYPE, Sysmeta.UPLOAD)
    }
)


class StaticLargeObjects:
    """Reads what manifests make, or the manifests themselves."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects = context.objects
        self._lookup = context.lookup
        self._config = context.config.large_objects
        self._clock = context.runtime.clock

    def open(self, request: SwiftRequest, command: GetObject, manifest: OpenedObject) -> Resolved[OpenedObject]:
        """The object that an opened manifest makes. Raises HttpError and CoreError."""
        headers = {Client.MANIFEST_ETAG: manifest.info.etag}
        throttle = throttle_of(self._config, self._clock)
        if PART_NUMBER not in request.params:
            opened = open_composite(command, manifest, self._reader(request, command), throttle)
        else:
            whole, parts = read_manifest(command.path, manifest)
            command = msgspec.structs.replace(command, ranges=range_of(request, whole, parts, headers))
            opened = open_parts(command, whole, parts, self._reader(request, command), throttle)
            headers[Client.PARTS_COUNT] = str(len(parts))
        found = msgspec.structs.replace(opened, info=without_manifest(opened.info))
        return Resolved(found, command, headers | quoted_etag(found.info.etag))

    def head(self, request: SwiftRequest, command: GetObject, info: StoredObjectInfo) -> Resolved[StoredObjectInfo]:
        """As `open`, without the body; the manifest is read only for one of its segments."""
        whole, headers = composite_head(command, info), {Client.MANIFEST_ETAG: info.etag}
        if PART_NUMBER in request.params:
            stored = msgspec.structs.replace(command, ranges="", conditions=None)
            _, parts = read_manifest(command.path, self._objects.open(stored))
            first, _, last = range_of(request, whole, parts, headers).removeprefix("bytes=").partition("-")
            headers[Client.PARTS_COUNT] = str(len(parts))
            headers[Client.CONTENT_RANGE] = f"bytes {first}-{last}/{whole.size}"
            headers[Client.CONTENT_LENGTH] = str(int(last) - int(first) + 1)
        return Resolved(without_manifest(whole), command, headers | quoted_etag(whole.etag))

    def open_manifest(self, request: SwiftRequest, resolved: Resolved[OpenedObject]) -> Resolved[OpenedObject]:
        """The manifest itself, in one of its forms."""
        headers = resolved.headers | {Client.MANIFEST_ETAG: resolved.found.info.etag}
        if request.params.get("format") != "raw" or request.method not in ("GET", "HEAD"):
            stored = as_stored(resolved, self._objects.open)
            return msgspec.structs.replace(stored, headers=headers | {Client.CONTENT_TYPE: JSON_TYPE})
        opened = resolved.found
        _, parts = read_manifest(resolved.command.path, opened)
        check_read_conditions(resolved.command, opened.info)
        raw = raw_manifest(parts)
        headers[Client.ETAG] = md5(raw, usedforsecurity=False).hexdigest()
        return Resolved(msgspec.structs.replace(opened, body=raw, part=None, parts=()), resolved.command, headers)

    def head_manifest(self, request: SwiftRequest, resolved: Resolved[StoredObjectInfo]) -> Resolved[StoredObjectInfo]:
        """As `open_manifest`."""
        if request.params.get("format") == "raw":
            command = msgspec.structs.replace(resolved.command, ranges="", conditions=None)
            opened = self._objects.open(command)
            made = self.open_manifest(request, Resolved(opened, resolved.command, resolved.headers))
            return Resolved(msgspec.structs.replace(made.found.info, size=made.found.length), command, made.headers)
        headers = resolved.headers | {Client.MANIFEST_ETAG: resolved.found.etag, Client.CONTENT_TYPE: JSON_TYPE}
        return msgspec.structs.replace(as_stored(resolved, self._objects.head), headers=headers)

    def _reader(self, request: SwiftRequest, command: GetObject) -> LinkedPartSource:
        """Opens segments for a client; one that it may not read is as good as gone."""
        allowed = rights_of(request)

        def may_read(path: ResourcePath, container: ContainerInfo) -> None:
            try:
                allowed(path, container)
            except HttpError as error:
                raise PartUnavailable(path, "it may not be read") from error

        expired = command.open_expired
        return LinkedPartSource(self._objects, self._lookup, request.transaction_id, may_read, open_expired=expired)

    def source(self, request: SwiftRequest) -> LinkedPartSource:
        """Opens segments for a client, and says why not."""
        return LinkedPartSource(self._objects, self._lookup, request.transaction_id, rights_of(request))


def without_manifest(info: StoredObjectInfo) -> StoredObjectInfo:
    """What a manifest makes, without what is stored for the manifest's own sake."""
    system = {name: value for name, value in info.metadata.system.items() if name not in _OWN}
    return msgspec.structs.replace(info, metadata=msgspec.structs.replace(info.metadata, system=system))


def range_of(request: SwiftRequest, whole: StoredObjectInfo, parts: list[Part], headers: dict[str, str]) -> str:
    """The range of the part that `part-number` asks for. Raises HttpError 400, 416."""
    if request.header(Client.RANGE) is not None:
        raise HttpError(400, "Range requests are not supported with part number queries")
    text = request.params[PART_NUMBER]
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < 1:
        raise HttpError(400, "Part number must be an integer greater than 0")
    number = int(text)
    if number > len(parts):
        shown = object_headers(without_manifest(whole)) | version_header(whole.version)
        shown |= headers | quoted_etag(whole.etag)
        del shown[Client.CONTENT_TYPE]
        shown |= {Client.CONTENT_RANGE: f"bytes */{whole.size}", Client.PARTS_COUNT: str(len(parts))}
        if request.method == "HEAD":
            shown[Client.CONTENT_LENGTH] = "0"
        raise HttpError(416, "The requested part number is not satisfiable", shown)
    first = sum(part.length for part in parts[: number - 1])
    return f"bytes={first}-{first + parts[number - 1].length - 1}"
