"""Containers: requests become commands of the core, and results become answers."""

from __future__ import annotations

from typing import Any, Final

from objstore.headers import CONTAINER_OWNER_HEADERS, OWNER_ONLY, Client, Owner, Sysmeta, family, is_true, of_owner
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import check_metadata, check_path
from objstore.policies import UnknownPolicy
from objstore.proxy.core.containers import GetContainer, PutContainer, WriteContainer
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.core.encryption.envelope import OWN, Seal
from objstore.proxy.core.encryption.settings import container_seal, setting
from objstore.proxy.core.errors import ContainerNotFound
from objstore.proxy.core.info import ABSENT, VERSIONS_ENABLED, ContainerInfo
from objstore.proxy.core.listing import NO_QUERY, ListingQuery
from objstore.proxy.swift.handlers.common import (
    listing_format,
    listing_query,
    metadata_changes,
    metadata_headers,
    write_fields,
)
from objstore.proxy.swift.handlers.legacy_versions import LOCATION_KEY, location_changes, location_in
from objstore.proxy.swift.handlers.versions import ObjectVersioning, versioning_changes, wants_versions
from objstore.proxy.swift.request import SwiftRequest

META: Final = Client.CONTAINER_META_PREFIX
OWN_HEADERS: Final = frozenset(name for name in OWNER_ONLY if name.startswith("X-Container-"))

NOT_ENCRYPTED: Final = "none"


class ContainerHandler:
    def __init__(self, context: ProxyContext, versions: ObjectVersioning) -> None:
        self._versions = versions
        self._allowed = context.config.objects
        self._containers = context.containers
        self._lookup = context.lookup
        self._policies = context.cluster.policies
        self._limits = context.cluster.limits
        self._clock = context.runtime.clock
        self._keys = context.keys

    def head(self, request: SwiftRequest) -> Response:
        """204, 404."""
        wanted = listing_format(request)
        info = self._containers.head(self._reading(request, NO_QUERY))
        return wanted.answer(self._headers(info, request))

    def get(self, request: SwiftRequest) -> Response:
        """The objects: 200, 404, 204 when there are none to list in plain text; with ?versions all versions."""
        if wants_versions(request):
            listed = self._versions.listing(request, self._reading(request, NO_QUERY))
            headers = self._headers(listed.info, request)
            return Response(200, headers | {Client.CONTENT_TYPE: "application/json; charset=utf-8"}, listed.body)
        query, wanted = listing_query(request, self._limits.container_listing_limit), listing_format(request)
        opened = self._containers.open(self._reading(request, query), wanted.name)
        return wanted.answer(self._headers(opened.info, request), opened.body)

    def put(self, request: SwiftRequest) -> Response:
        """201, 202 if it is there, 404 without its account, 409 if it has another storage policy."""
        request.check_access()
        fields = self._changes(request)
        index = self._policy_index(request)
        created = self._containers.put(PutContainer(**write_fields(request, self._clock), **fields, policy_index=index))
        return Response(201 if created else 202)

    def post(self, request: SwiftRequest) -> Response:
        """204, 404."""
        request.check_access()
        fields = self._changes(request)
        self._containers.post(WriteContainer(**write_fields(request, self._clock), **fields))
        return Response(204)

    def delete(self, request: SwiftRequest) -> Response:
        """204, 404, 409 while it holds objects."""
        request.check_access()
        self._versions.delete_container(request, WriteContainer(**write_fields(request, self._clock)))
        return Response(204)

    def _reading(self, request: SwiftRequest, query: ListingQuery) -> GetContainer:
        """The read that a request asks for, if the container's list lets it. Raises HttpError 401, 403, CoreError."""
        path = request.storage_resource
        info = self._lookup.container(path, request.transaction_id)
        request.container = info
        request.check_access(info.read_acl)
        if info.existence is ABSENT:
            raise ContainerNotFound(path)
        return GetContainer(path, query, is_true(request.header(Client.NEWEST)), request.transaction_id)

    def _policy_index(self, request: SwiftRequest) -> int | None:
        """Of the policy that is asked for. Raises HttpError 400."""
        name = request.header(Client.STORAGE_POLICY)
        if not name:
            return None
        try:
            policy = self._policies.by_name(name)
        except UnknownPolicy:
            raise HttpError(400, f"Invalid {Client.STORAGE_POLICY} '{name}'") from None
        if policy.deprecated:
            raise HttpError(400, f"Storage policy '{name}' is deprecated")
        return policy.index

    def _changes(self, request: SwiftRequest) -> dict[str, Any]:
        """What an authorized request changes, as fields; what only owners see, only owners change."""
        check_path(self._limits, request.storage_resource)
        changes = metadata_changes(request, "Container", OWN_HEADERS)
        check_metadata(self._limits, META, changes)
        if not request.owner:
            for name in OWNER_ONLY & changes.keys():
                del changes[name]
        return {
            "metadata": family(changes, META),
            "sysmeta": family(changes, Sysmeta.CONTAINER_PREFIX)
            | self._versioning_changes(request)
            | self._encryption_changes(request),
        } | {field: changes.get(name) for field, name in CONTAINER_OWNER_HEADERS.items()}

    def _encryption_changes(self, request: SwiftRequest) -> dict[str, str]:
        """Whether new objects are encrypted from now on. Raises HttpError 400."""
        asked = request.header(Client.CONTAINER_ENCRYPTION)
        if asked is None:
            return {}
        if asked not in (OWN, NOT_ENCRYPTED):
            raise HttpError(400, f"{Client.CONTAINER_ENCRYPTION} must be {OWN} or {NOT_ENCRYPTED}")
        if asked == NOT_ENCRYPTED:
            return setting(None)
        if not self._keys.active:
            raise HttpError(400, "The store has no encryption key")
        return setting(Seal())

    def _versioning_changes(self, request: SwiftRequest) -> dict[str, str]:
        """What a request changes of both kinds of versions, which exclude each other. Raises HttpError 400, 412."""
        allowed = self._allowed
        changes = location_changes(request, allowed.allow_versioned_writes)
        sync = request.header(Owner.CONTAINER_SYNC_TO)
        if not changes and not sync and request.header(Client.VERSIONS_ENABLED) is None:
            return changes
        info = self._lookup.container(request.storage_resource, request.transaction_id)
        changes |= versioning_changes(request, info, allowed.allow_object_versioning)
        kept = info.sysmeta | changes
        if kept.get(VERSIONS_ENABLED) and kept.get(LOCATION_KEY):
            raise HttpError(400, f"{Client.VERSIONS_ENABLED} and the older kinds of versions exclude each other")
        if kept.get(VERSIONS_ENABLED) == "true" and sync:
            raise HttpError(400, "Container sync and versions exclude each other")
        return changes

    def _headers(self, info: ContainerInfo, request: SwiftRequest) -> dict[str, str]:
        headers = {
            Client.CONTAINER_OBJECT_COUNT: str(info.object_count),
            Client.CONTAINER_BYTES_USED: str(info.bytes_used),
            Client.TIMESTAMP: info.created_at,
            Client.LAST_MODIFIED: info.last_modified,
        }
        headers |= metadata_headers(META, info.metadata, request.owner)
        if request.owner:
            headers |= of_owner(info)
        if (seal := container_seal(info)) is not None:
            headers[Client.CONTAINER_ENCRYPTION] = seal.kind
        if info.versioning:
            headers[Client.VERSIONS_ENABLED] = str(info.versioning == "enabled")
        if location := location_in(info):
            headers |= location.headers
        try:
            headers[Client.STORAGE_POLICY] = self._policies.by_index(info.policy_index).name
        except UnknownPolicy:
            pass  # taken out of the configuration: the container can still be read
        return headers
