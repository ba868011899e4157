"""What readers get in the place of a link or a manifest: links are followed first, then the manifest is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.errors import StoreError
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.dynamic_manifest import is_dynamic
from objstore.proxy.core.errors import InvalidRange, NotModified, PreconditionFailed
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.links import Found
from objstore.proxy.core.manifest import is_composite
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.swift import errors
from objstore.proxy.swift.handlers.dynamic_large_objects import DynamicLargeObjects, quoted_etag
from objstore.proxy.swift.handlers.object import is_manifest_wanted
from objstore.proxy.swift.handlers.static_large_objects import StaticLargeObjects
from objstore.proxy.swift.handlers.symlinks import Resolved, Symlinks, as_stored
from objstore.proxy.swift.request import SwiftRequest


class Resolver:
    """Reads on from objects that stand for others, with the client's rights; for GET, HEAD and copies."""

    def __init__(self, context: ProxyContext, symlinks: Symlinks) -> None:
        self._objects = context.objects
        self._symlinks = symlinks
        self._dynamic = DynamicLargeObjects(context)
        self.static: Final = StaticLargeObjects(context)

    def open(self, request: SwiftRequest, command: GetObject, opened: OpenedObject) -> Resolved[OpenedObject]:
        """What the client wants of an opened object that stands for others. Raises HttpError and CoreError."""
        resolved = self._symlinks.open(request, command, opened)
        if not is_composite(resolved.found.info):
            return self._read_on(request, resolved, resolved.found.info, self._objects.open, self._dynamic.open)
        if is_manifest_wanted(request):
            return self.static.open_manifest(request, resolved)
        return self._made(request, resolved, self.static.open)

    def head(self, request: SwiftRequest, command: GetObject, info: StoredObjectInfo) -> Resolved[StoredObjectInfo]:
        """As `open`."""
        resolved = self._symlinks.head(request, command, info)
        if is_composite(resolved.found):
            if is_manifest_wanted(request):
                return self.static.head_manifest(request, resolved)
            return self._made(request, resolved, self.static.head)
        return self._read_on(request, resolved, resolved.found, self._objects.head, self._dynamic.head)

    def _read_on(
        self,
        request: SwiftRequest,
        resolved: Resolved[Found],
        info: StoredObjectInfo,
        read: Callable[[GetObject], Found],
        make: Callable[[SwiftRequest, GetObject, Found], Resolved[Found]],
    ) -> Resolved[Found]:
        if not is_dynamic(info):
            return resolved
        if is_manifest_wanted(request):
            return as_stored(resolved, read)
        return self._made(request, resolved, make)

    def _made(
        self,
        request: SwiftRequest,
        resolved: Resolved[Found],
        make: Callable[[SwiftRequest, GetObject, Found], Resolved[Found]],
    ) -> Resolved[Found]:
        """What a manifest makes. Errors say where links led, and which ETag it has."""
        try:
            made = make(request, resolved.command, resolved.found)
        except (InvalidRange, NotModified, PreconditionFailed) as error:
            etag = error.info.etag if isinstance(error, NotModified) else error.facts.etag
            raise errors.with_headers(error, resolved.headers | quoted_etag(etag)) from error
        except StoreError as error:
            raise errors.with_headers(error, resolved.headers) from error
        return Resolved(made.found, made.command, resolved.headers | made.headers)
