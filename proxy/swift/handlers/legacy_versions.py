"""The older kinds of versions of the Swift API, which copy objects into another container.

    X-Versions-Location: CONTAINER      what a PUT replaces is archived there; a DELETE brings the newest one back
    X-History-Location: CONTAINER       what a PUT or DELETE replaces is archived there, and a DELETE leaves a marker

An archived object is called `<length of the name in 3 hex digits><name>/<timestamp>`. The right to write to the
container is enough: nobody needs any to the archive.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from msgspec import Struct
from msgspec.structs import replace

from objstore.conditions import WriteConditions
from objstore.headers import Client
from objstore.http.bodies import BytesBody
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import check_path, text_of
from objstore.paths import ResourcePath
from objstore.proxy.core.composite import PartSource, open_composite
from objstore.proxy.core.conditions import check_conditions
from objstore.proxy.core.containers import GetContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.encryption.settings import container_seal
from objstore.proxy.core.errors import ContainerNotFound, ObjectNotFound
from objstore.proxy.core.info import PRESENT, ContainerInfo, StoredObjectInfo
from objstore.proxy.core.listing import ListedObject, ListingQuery
from objstore.proxy.core.manifest import UPLOAD
from objstore.proxy.core.objects import CopyObject, DeleteObject, GetObject, OpenedObject, PutObject
from objstore.proxy.swift.handlers.object import DELETED_TYPE
from objstore.proxy.swift.handlers.static_large_objects import without_manifest
from objstore.proxy.swift.request import SwiftRequest
from objstore.timestamps import Timestamp

# In the system metadata of containers.
LOCATION_KEY: Final = "Versions-Location"
MODE_KEY: Final = "Versions-Mode"
STACK: Final = "stack"
HISTORY: Final = "history"
HEADER_OF_MODE: Final = {STACK: Client.VERSIONS_LOCATION, HISTORY: Client.HISTORY_LOCATION}


class ArchiveLocation(Struct, frozen=True):
    """The container to which old objects go; the mode says what a DELETE does."""

    container: str
    mode: str

    @property
    def headers(self) -> dict[str, str]:
        """As owners and users of the container see it."""
        return {HEADER_OF_MODE[self.mode]: quote(self.container)}


def location_in(container: ContainerInfo) -> ArchiveLocation | None:
    """Where a container's old objects go; None if they go nowhere."""
    name = container.sysmeta.get(LOCATION_KEY) if container.sysmeta else None
    if not name:
        return None
    mode = container.sysmeta.get(MODE_KEY, STACK)
    return ArchiveLocation(text_of(unquote_to_bytes(name).decode("latin-1")), HISTORY if mode == HISTORY else STACK)


def location_changes(request: SwiftRequest, allowed: bool) -> dict[str, str]:
    """What the headers change in the container's system metadata. Raises HttpError 400, 412."""
    given = {mode: request.header(name) for mode, name in HEADER_OF_MODE.items()}
    named = {mode: value for mode, value in given.items() if value}
    if len(named) > 1:
        raise HttpError(400, f"Only one of {Client.VERSIONS_LOCATION} and {Client.HISTORY_LOCATION} may be given")
    for mode, value in named.items():
        if not allowed:
            raise HttpError(412, "Versioned Writes is disabled")
        name = text_of(unquote_to_bytes(value.encode("latin-1")).decode("latin-1"))
        if "/" in name:
            raise HttpError(412, f"{HEADER_OF_MODE[mode]}: a container's name has no slashes")
        return {LOCATION_KEY: quote(name), MODE_KEY: mode}
    removed = (f"X-Remove-{name.removeprefix('X-')}" for name in HEADER_OF_MODE.values())
    if any(value is not None for value in given.values()) or any(request.header(name) for name in removed):
        return {LOCATION_KEY: "", MODE_KEY: ""}
    return {}


def archive_prefix(name: str) -> str:
    """What the archived versions of one object are called, up to their timestamps."""
    return f"{len(name.encode()):03x}{name}/"


class LegacyVersions:
    """Archives objects before they are replaced, and brings them back."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects = context.objects
        self._containers = context.containers
        self._lookup = context.lookup
        self._limits = context.cluster.limits
        self._clock = context.runtime.clock

    def archive(
        self,
        request: SwiftRequest,
        path: ResourcePath,
        index: int,
        location: ArchiveLocation,
        conditions: WriteConditions | None,
    ) -> None:
        """Copy the current object, if there is one and `conditions` permit a write.

        Raises HttpError 400, 412, and CoreError.
        """
        read = GetObject(path, index, newest=True, as_stored=True, transaction_id=request.transaction_id)
        try:
            source = self._objects.open(read)
        except ObjectNotFound:
            check_conditions(conditions, None)
            return
        with closing(source):
            check_conditions(conditions, source.info)
            if UPLOAD in source.info.metadata.system:
                source = self._content(request, read, source)
            place, archive = self._archived(request, path, source.info.timestamp, location)
            self._copy(request, source, place, archive)

    def _content(self, request: SwiftRequest, read: GetObject, manifest: OpenedObject) -> OpenedObject:
        """What an upload has made: its parts belong to the object alone, so the archive gets a copy of them."""
        parts = PartSource(self._objects, self._lookup, request.transaction_id)
        whole = open_composite(replace(read, as_stored=False), manifest, parts)
        info = without_manifest(whole.info)
        given = {name: value for name, value in info.metadata.given.items() if name != Client.STATIC_LARGE_OBJECT}
        return replace(whole, info=replace(info, metadata=replace(info.metadata, given=given)))

    def delete(self, request: SwiftRequest, command: DeleteObject, location: ArchiveLocation) -> Response:
        """204, 404: an authorized DELETE of the current object."""
        if location.mode == HISTORY:
            self.archive(request, command.path, command.policy_index, location, command.conditions)
            self._leave_marker(request, command, location)
        elif self._popped(request, command, location):
            return Response(204)
        self._objects.delete(command)
        return Response(204)

    def _leave_marker(self, request: SwiftRequest, command: DeleteObject, location: ArchiveLocation) -> None:
        place, archive = self._archived(request, command.path, command.timestamp.normal, location)
        marker = PutObject(
            place,
            archive.policy_index,
            command.timestamp,
            BytesBody(b""),
            0,
            0,
            DELETED_TYPE,
            version_mode=archive.version_mode,
            transaction_id=request.transaction_id,
        )
        self._objects.put(marker)

    def _popped(self, request: SwiftRequest, command: DeleteObject, location: ArchiveLocation) -> bool:
        """Whether the newest archived version was brought back; otherwise the current object has to be deleted.

        A marker that history mode left stands for an absent object: it is taken away, and what is below it comes back,
        unless that is a marker, too. An object that was written above a marker just goes.
        """
        path = command.path
        if command.conditions is not None:
            check_conditions(command.conditions, self._current(request, command))
        archive = self._lookup.container(ResourcePath(path.account, location.container), request.transaction_id)
        was_absent = False
        for entry in self._newest_first(request, path, location):
            place = ResourcePath(path.account, location.container, entry.name)
            if entry.content_type == DELETED_TYPE:
                if was_absent or self._current(request, command) is not None:
                    break
                self._forget(request, place, archive)
                was_absent = True
                continue
            read = GetObject(
                place, archive.policy_index, newest=True, as_stored=True, transaction_id=request.transaction_id
            )
            try:
                source = self._objects.open(read)
            except ObjectNotFound:
                continue  # the listing lags behind
            with closing(source):
                target = self._lookup.container(path, request.transaction_id)
                self._copy(request, source, path, target, command.conditions)
            self._forget(request, place, archive)
            return True
        return was_absent

    def _newest_first(self, request: SwiftRequest, path: ResourcePath, location: ArchiveLocation) -> list[ListedObject]:
        query = ListingQuery(prefix=archive_prefix(path.object), reverse="true")
        container = ResourcePath(path.account, location.container)
        try:
            entries = self._containers.list(GetContainer(container, query, transaction_id=request.transaction_id))
        except ContainerNotFound:
            return []
        return [entry for entry in entries if isinstance(entry, ListedObject)]

    def _current(self, request: SwiftRequest, command: DeleteObject) -> StoredObjectInfo | None:
        read = GetObject(command.path, command.policy_index, newest=True, transaction_id=request.transaction_id)
        try:
            return self._objects.head(read)
        except ObjectNotFound:
            return None

    def _forget(self, request: SwiftRequest, place: ResourcePath, archive: ContainerInfo) -> None:
        removal = DeleteObject(
            place,
            archive.policy_index,
            self._clock.timestamp(),
            transaction_id=request.transaction_id,
            version_mode=archive.version_mode,
        )
        try:
            self._objects.delete(removal)
        except ObjectNotFound:
            pass

    def _archived(
        self, request: SwiftRequest, path: ResourcePath, timestamp: str, location: ArchiveLocation
    ) -> tuple[ResourcePath, ContainerInfo]:
        """Where the version of that time goes. Raises HttpError 400, 412 without the container."""
        name = archive_prefix(path.object) + Timestamp.parse(timestamp).normal
        place = ResourcePath(path.account, location.container, name)
        check_path(self._limits, place)
        archive = self._lookup.container(place, request.transaction_id)
        if archive.existence is not PRESENT:
            raise HttpError(412, "The container for versions does not exist")
        return place, archive

    def _copy(
        self,
        request: SwiftRequest,
        source: OpenedObject,
        path: ResourcePath,
        container: ContainerInfo,
        conditions: WriteConditions | None = None,
    ) -> None:
        """Store the object with all that is kept with it. Raises CoreError."""
        copy = copy_of(source, path, container, self._clock.timestamp(), self._limits.max_file_size)
        copy = replace(
            copy, delete_at=source.info.delete_at, conditions=conditions, transaction_id=request.transaction_id
        )
        self._objects.copy(CopyObject(source, copy))


def copy_of(
    source: OpenedObject, path: ResourcePath, container: ContainerInfo, timestamp: Timestamp, size_max: int
) -> PutObject:
    """The PUT that stores an opened object with its metadata in another place, for a CopyObject."""
    return PutObject(
        path,
        container.policy_index,
        timestamp,
        BytesBody(b""),
        0,
        size_max,
        source.info.content_type,
        container.newly_locked(source.info.metadata, timestamp.seconds),
        version_mode=container.version_mode,
        seal=container_seal(container),
    )
