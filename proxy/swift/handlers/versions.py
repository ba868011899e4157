"""Versions in the Swift API: X-Versions-Enabled of containers, ?version-id of objects, ?versions of listings.

Swift's current object is a thing of its own beside the versions: when the version that is current is removed, no older
one takes its place, and only a PUT with ?version-id brings one back. So a delete marker of the plain line, which no
listing of this API shows, goes ahead of such a removal.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any, Final

import msgspec

from objstore.conditions import WriteConditions
from objstore.headers import Client, Owner, is_true
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.conditions import check_conditions
from objstore.proxy.core.containers import GetContainer, OpenedContainer, WriteContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.errors import ContainerNotEmpty, NewerStored, ObjectLocked, ObjectNotFound, PreconditionFailed
from objstore.proxy.core.info import VERSIONS_ENABLED, ContainerInfo
from objstore.proxy.core.listing import VersionsQuery, whole
from objstore.proxy.core.objects import CopyObject, DeleteObject, GetObject
from objstore.proxy.core.versions import NULL, public_id, version_of
from objstore.proxy.swift.handlers.common import listing_query
from objstore.proxy.swift.handlers.legacy_versions import LegacyVersions, copy_of, location_in
from objstore.proxy.swift.handlers.object import (
    DELETED_TYPE,
    VERSION_ID,
    authorize,
    policy_index,
    version_header,
    write_conditions,
)
from objstore.proxy.swift.request import SwiftRequest
from objstore.rows import EMPTY_ETAG

JSON_TYPE: Final = "application/json"
# So often it is looked whether a version that is to be removed is current, while others write.
LOOKS_MAX: Final = 8
Row = dict[str, Any]


class ObjectVersioning:
    """Carries out what requests ask of versions, for the handlers of containers, objects and copies."""

    def __init__(self, context: ProxyContext) -> None:
        self._objects = context.objects
        self._containers = context.containers
        self._lookup = context.lookup
        self._policies = context.cluster.policies
        self._limits = context.cluster.limits
        self._clock = context.runtime.clock
        self._legacy = LegacyVersions(context)

    def asked(self, request: SwiftRequest) -> str:
        """The version that an authorized read asks for, "" for what is current. Raises HttpError 400, 403."""
        identifier = request.params.get(VERSION_ID)
        if identifier is None:
            return ""
        if not request.owner:
            raise HttpError(403)
        return given_version(identifier)

    def before_write(
        self, request: SwiftRequest, path: ResourcePath, container: ContainerInfo, conditions: WriteConditions | None
    ) -> None:
        """Archive what an authorized PUT replaces, if the container's owner wants that. Raises HttpError, CoreError."""
        if location := location_in(container):
            self._legacy.archive(request, path, policy_index(request, container), location, conditions)

    def delete(self, request: SwiftRequest, container: ContainerInfo, command: DeleteObject) -> Response:
        """204, 404: carry out an authorized DELETE of a version, or in a container with versions of either kind."""
        identifier = request.params.get(VERSION_ID) if request.environ["QUERY_STRING"] else None
        if identifier is not None and identifier != NULL:
            return self._remove(request, command, identifier)
        if location := location_in(container):
            return self._legacy.delete(request, command, location)
        mode = "null" if identifier == NULL and container.versioning else container.version_mode
        try:
            status, marker = 204, self._objects.delete(msgspec.structs.replace(command, version_mode=mode)).internal
        except ObjectNotFound as error:
            status, marker = 404, error.version
        return Response(status, {Client.OBJECT_VERSION_ID: public_id(marker)} if mode == "keep" else {})

    def _remove(self, request: SwiftRequest, command: DeleteObject, identifier: str) -> Response:
        """Remove one version for good; what was current stays not found. Conditions are about what is current."""
        version = self.asked(request)
        if not any(self._is_hidden(request, command, version) for _ in range(LOOKS_MAX)):
            raise NewerStored(command.path)
        self._objects.delete(msgspec.structs.replace(command, version=version, conditions=None))
        return Response(204, {Client.OBJECT_VERSION_ID: identifier})

    def _is_hidden(self, request: SwiftRequest, command: DeleteObject, version: str) -> bool:
        """Whether a version is not current, or a marker stands before it now; False if others wrote meanwhile.

        A marker that is written then would hide what they have written. Under strong consistency it is not.
        """
        read = GetObject(command.path, command.policy_index, newest=True, transaction_id=request.transaction_id)
        found = None
        try:
            found = self._objects.head(read)
            current = found.version
        except ObjectNotFound as error:
            current = error.version
        check_conditions(command.conditions, found)
        if current != version:
            return True
        if found is not None and found.metadata.lock.protects(self._clock.now()):
            raise ObjectLocked(command.path)
        conditions = command.conditions
        if self._policies.by_index(command.policy_index).is_strong:
            is_current = {"if_version": version} if found else {"if_absent": True}
            conditions = msgspec.structs.replace(conditions or WriteConditions(), **is_current)
        try:
            self._objects.delete(msgspec.structs.replace(command, version_mode="null", conditions=conditions))
        except PreconditionFailed:
            return False
        except ObjectNotFound:
            pass  # a delete marker was current
        return True

    def restore(self, request: SwiftRequest) -> Response:
        """201, 404: PUT with ?version-id makes a version the current object again, by writing it once more."""
        path = request.storage_resource
        if request.content_length or (request.chunked and request.body.read(1)):
            raise HttpError(400, f"PUT with {VERSION_ID} requires a zero byte body")
        container = self._lookup.container(path, request.transaction_id)
        authorize(request, container, path, container.write_acl)
        if container.is_lockable:
            raise HttpError(409, "Where versions can be locked, a version is made the current object by a copy of it")
        version, index, conditions = self.asked(request), policy_index(request, container), write_conditions(request)
        if version == NULL:
            raise HttpError(400, "The null version cannot be made the current one")
        read = GetObject(
            path, index, newest=True, as_stored=True, version=version, transaction_id=request.transaction_id
        )
        with closing(self._objects.open(read)) as source:
            timestamp = request.timestamp(self._clock)
            copy = copy_of(source, path, container, timestamp, self._limits.max_file_size)
            target = msgspec.structs.replace(
                copy,
                policy_index=index,
                delete_at=source.info.delete_at,
                conditions=conditions,
                version_mode="keep",
                version=version,
                transaction_id=request.transaction_id,
            )
            stored = self._objects.copy(CopyObject(source, target))
        if stored.superseded:
            raise NewerStored(path)
        headers = {Client.ETAG: stored.etag, Client.LAST_MODIFIED: stored.timestamp.http_date}
        return Response(201, headers | version_header(stored.version))

    def listing(self, request: SwiftRequest, reading: GetContainer) -> OpenedContainer:
        """The container, and all versions of all objects as JSON, delete markers among them.

        Raises HttpError 400, 406, 412, CoreError.
        """
        self._check_format(request)
        query = listing_query(request, self._limits.container_listing_limit)
        marker, limit = request.params.get("version_marker"), int(query.limit or self._limits.container_listing_limit)
        if marker is not None and not query.marker:
            raise HttpError(400, "version_marker requires marker")
        version = given_version(marker) if marker else None
        asked = VersionsQuery(**msgspec.structs.asdict(query), version_marker=version)
        found: list[Row] = []
        while True:
            info, page = self._page(msgspec.structs.replace(reading, query=asked))
            found += [shown(row) for row in page if not is_hidden(row)]
            if len(page) < limit or len(found) >= limit:
                return OpenedContainer(info, msgspec.json.encode(found[:limit]))
            last = page[-1]
            asked = msgspec.structs.replace(
                asked, marker=last.get("name", last.get("subdir")), version_marker=last.get("version_id")
            )

    def _page(self, command: GetContainer) -> tuple[ContainerInfo, list[Row]]:
        """Raises HttpError 503 from a server that lists current objects only, and CoreError."""
        opened = self._containers.open(command)
        page: list[Row] = msgspec.json.decode(whole(opened.body))
        if not all("version_id" in row or "subdir" in row for row in page):
            raise HttpError(503, "The servers of this container cannot list versions")
        return opened.info, page

    def _check_format(self, request: SwiftRequest) -> None:
        wanted, accept = request.params.get("format"), request.environ.get("HTTP_ACCEPT")
        if wanted in ("plain", "xml"):
            raise HttpError(406, "Versions are listed as JSON only")
        if wanted is None and accept and not request.accept.acceptable_offers([JSON_TYPE]):
            raise HttpError(406, "Versions are listed as JSON only")

    def delete_container(self, request: SwiftRequest, command: WriteContainer) -> None:
        """Delete a container that holds nothing but delete markers that clients do not see. Raises CoreError."""
        try:
            self._containers.delete(command)
        except ContainerNotEmpty:
            if not self._removed_hidden_markers(request, command.path):
                raise
            self._containers.delete(msgspec.structs.replace(command, timestamp=self._clock.timestamp()))

    def _removed_hidden_markers(self, request: SwiftRequest, path: ResourcePath) -> bool:
        """Whether nothing else was there, and they are removed now; of at most one page."""
        info = self._lookup.container(path, request.transaction_id)
        if not info.versioning:
            return False
        reading = GetContainer(path, VersionsQuery(), newest=True, transaction_id=request.transaction_id)
        _, rows = self._page(reading)
        if not rows or not all(is_hidden(row) for row in rows):
            return False
        for row in rows:
            target = ResourcePath(path.account, path.container, row["name"])
            removal = DeleteObject(target, info.policy_index, self._clock.timestamp(), version=NULL)
            try:
                self._objects.delete(removal)
            except ObjectNotFound:
                pass
        return True


def given_version(identifier: str) -> str:
    """The version with this id. Raises HttpError 400."""
    try:
        return version_of(identifier)
    except ValueError:
        raise HttpError(400, "Invalid version parameter") from None


def is_hidden(row: Row) -> bool:
    """Whether clients do not see this row of a listing: the delete marker of a plain line."""
    return bool(row.get("marker")) and row["version_id"] == NULL


def shown(row: Row) -> Row:
    """A row of a listing of versions as clients see it."""
    if "subdir" in row:
        return row
    marker = {"content_type": DELETED_TYPE, "hash": EMPTY_ETAG, "bytes": 0} if row.get("marker") else {}
    seen = {name: value for name, value in row.items() if name != "marker"}
    return seen | {"version_id": public_id(row["version_id"])} | marker


def wants_versions(request: SwiftRequest) -> bool:
    """Whether a GET of a container asks for versions, not for current objects."""
    return bool(request.environ["QUERY_STRING"]) and "versions" in request.params


def versioning_changes(request: SwiftRequest, info: ContainerInfo, allowed: bool) -> dict[str, str]:
    """What X-Versions-Enabled changes in the container's system metadata. Raises HttpError 400, 409."""
    given = request.header(Client.VERSIONS_ENABLED)
    if given is None:
        return {}
    if info.is_lockable and not is_true(given):
        raise HttpError(409, "Where versions can be locked, they are kept for good")
    if not is_true(given):
        return {VERSIONS_ENABLED: "false"} if info.versioning else {}
    if not allowed:
        raise HttpError(400, "This store keeps no versions")
    if info.sync_to or request.header(Owner.CONTAINER_SYNC_TO):
        raise HttpError(400, "Container sync and versions exclude each other")
    return {VERSIONS_ENABLED: "true"}
