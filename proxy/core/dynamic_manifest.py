"""Dynamic large objects: a manifest names a prefix, and stands for all objects whose names begin so, in their order.

Which these are the container's listing says when the manifest is read. If they fit on one page of it, size and ETag of
the whole are known; else nobody knows them before the end, and further pages are asked for as the body gets there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import md5
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct

from objstore.errors import StoreError
from objstore.limits import text_of
from objstore.paths import ResourcePath
from objstore.proxy.core.backend.names import DYNAMIC_MANIFEST
from objstore.proxy.core.composite import open_parts
from objstore.proxy.core.composite_body import Throttle
from objstore.proxy.core.conditions import check_read_conditions
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.errors import ContainerNotFound, ManifestDamaged, ObjectNotFound, PartUnavailable
from objstore.proxy.core.info import StoredObjectInfo
from objstore.proxy.core.links import LinkedPartSource
from objstore.proxy.core.listing import ListedEntry, ListedObject, ListingQuery
from objstore.proxy.core.manifest import Part, composite_info, is_composite
from objstore.proxy.core.objects import GetObject, OpenedObject

Lister = Callable[[GetContainer], list[ListedEntry]]


class SegmentPrefix(Struct, frozen=True):
    """The segments of a manifest: the objects in its account's `container` whose names begin with `prefix`."""

    container: str
    prefix: str


class DynamicObject(Struct, frozen=True):
    """What a dynamic manifest makes. endless: the size and the ETag in `info` are not known."""

    info: StoredObjectInfo
    parts: Iterator[Part]
    endless: bool


def is_dynamic(info: StoredObjectInfo) -> bool:
    """Whether a stored object is a dynamic manifest. A static one is none, whatever is stored with it."""
    return info.stands_for_others and DYNAMIC_MANIFEST in info.metadata.given and not is_composite(info)


def parse_prefix(value: str) -> SegmentPrefix:
    """Read CONTAINER/PREFIX, percent-quoted; the value is as HTTP gives it, bytes as Latin-1. Raises ValueError."""
    try:
        text = text_of(unquote_to_bytes(value.encode("latin-1")).decode("latin-1"))
    except StoreError as error:
        raise ValueError(str(error)) from error
    container, _, prefix = text.partition("/")
    if not container or not prefix or prefix.startswith("/") or "?" in value or "&" in value:
        raise ValueError("not of the form container/prefix")
    return SegmentPrefix(container, prefix)


class DynamicManifestReader:
    """Reads dynamic manifests for one request."""

    def __init__(self, list_objects: Lister, page_max: int, source: LinkedPartSource) -> None:
        """`list_objects` gives pages of up to `page_max` objects, and refuses readers without the right to list."""
        self._list_objects: Final = list_objects
        self._page_max: Final = page_max
        self._source: Final = source

    def open(self, command: GetObject, manifest: OpenedObject, throttle: Throttle | None = None) -> OpenedObject:
        """The object that an opened manifest makes. Raises CoreError."""
        manifest.close()
        made = self.describe(command, manifest.info)
        return open_parts(command, made.info, made.parts, self._source, throttle, endless=made.endless)

    def head(self, command: GetObject, manifest: StoredObjectInfo) -> DynamicObject:
        """What a manifest makes. Raises CoreError."""
        made = self.describe(command, manifest)
        check_read_conditions(command, made.info)
        return made

    def describe(self, command: GetObject, manifest: StoredObjectInfo) -> DynamicObject:
        """What a manifest makes, whatever the reader's conditions say. Raises CoreError."""
        path = command.path
        try:
            segments = parse_prefix(manifest.metadata.given[DYNAMIC_MANIFEST])
        except ValueError as error:
            raise ManifestDamaged(path, str(error)) from error
        container = ResourcePath(path.account, segments.container)
        page = self._page(container, segments.prefix, "")
        if len(page) >= self._page_max:
            info = msgspec.structs.replace(manifest, size=0, etag="")
            return DynamicObject(info, self._parts(container, segments.prefix, page), endless=True)
        parts = [part for listed in page for part in self._part(container, listed)]
        etag = md5("".join(part.etag for part in parts).encode(), usedforsecurity=False).hexdigest()
        info = msgspec.structs.replace(manifest, size=sum(part.size for part in parts), etag=etag)
        return DynamicObject(info, iter(part for part in parts if part.size), endless=False)

    def _parts(self, container: ResourcePath, prefix: str, page: list[ListedObject]) -> Iterator[Part]:
        while page:
            for listed in page:
                yield from (part for part in self._part(container, listed) if part.size)
            page = self._page(container, prefix, page[-1].name) if len(page) >= self._page_max else []

    def _page(self, container: ResourcePath, prefix: str, marker: str) -> list[ListedObject]:
        query = ListingQuery(prefix=prefix, marker=marker or None)
        entries = self._list_objects(GetContainer(container, query, transaction_id=self._source.transaction_id))
        return [entry for entry in entries if isinstance(entry, ListedObject)]

    def _part(self, container: ResourcePath, listed: ListedObject) -> Iterator[Part]:
        path = f"/{container.container}/{listed.name}"
        if not listed.symlink_path:
            yield Part(path, listed.slo_etag.strip('"') or listed.etag, listed.size)
            return
        # Listings do not know how large the target of a link is now.
        location = container.with_object(listed.name)
        try:
            info = self._source.head(location)
        except (ObjectNotFound, ContainerNotFound) as error:
            raise PartUnavailable(location, "it is a link to nothing") from error
        if is_composite(info):
            info = composite_info(location, info)
        yield Part(path, info.etag, info.size)
