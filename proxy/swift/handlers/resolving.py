"""What readers get in the place of a link or a manifest: links are followed first, then the manifest is read."""

from __future__ import annotations

from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.dynamic_manifest import is_dynamic
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.objects import GetObject, OpenedObject
from objstore.proxy.swift.handlers.dynamic_large_objects import DynamicLargeObjects
from objstore.proxy.swift.handlers.object import is_manifest_wanted
from objstore.proxy.swift.handlers.symlinks import Resolved, Symlinks, as_stored
from objstore.proxy.swift.request import SwiftRequest


class Resolver:
    """Reads on from objects that stand for others, with the client's rights; for GET, HEAD and copies."""

    def __init__(self, context: ProxyContext, symlinks: Symlinks) -> None:
        self._objects = context.objects
        self._symlinks = symlinks
        self._dynamic = DynamicLargeObjects(context)

    def open(self, request: SwiftRequest, command: GetObject, opened: OpenedObject) -> Resolved[OpenedObject]:
        """What the client wants of an opened object that stands for others. Raises HttpError and CoreError."""
        resolved = self._symlinks.open(request, command, opened)
        if not is_dynamic(resolved.found.info):
            return resolved
        if is_manifest_wanted(request):
            return as_stored(resolved, self._objects.open)
        made = self._dynamic.open(request, resolved.command, resolved.found)
        return Resolved(made.found, made.command, resolved.headers | made.headers)

    def head(self, request: SwiftRequest, command: GetObject, info: StoredObjectInfo) -> Resolved[StoredObjectInfo]:
        """As `open`."""
        resolved = self._symlinks.head(request, command, info)
        if not is_dynamic(resolved.found):
            return resolved
        if is_manifest_wanted(request):
            return as_stored(resolved, self._objects.head)
        made = self._dynamic.head(request, resolved.command, resolved.found)
        return Resolved(made.found, made.command, resolved.headers | made.headers)
