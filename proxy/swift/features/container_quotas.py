"""Containers with a limit that their owners set: X-Container-Meta-Quota-Bytes and X-Container-Meta-Quota-Count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.paths import ResourcePath
from objstore.proxy.core.info import ContainerInfo, container_key
from objstore.proxy.swift.features import quotas
from objstore.proxy.swift.features.base import Feature, Handler, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# In the metadata of a container.
BYTES_KEY: Final = "Quota-Bytes"
COUNT_KEY: Final = "Quota-Count"


class ContainerQuotas(Feature):
    """Refuses uploads beyond the quota with 413, and quotas that are no numbers with 400."""

    __slots__ = ("_cache", "_info")

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        self._info = context.info
        self._cache = context.cache

    def sections(self) -> Mapping[str, Section]:
        """See Feature."""
        return {"container_quotas": {}}

    def __call__(self, request: SwiftRequest) -> Response:
        """See Feature."""
        if request.method not in ("PUT", "POST"):
            return self._next(request)
        resource = request.resource
        if resource is None or not resource.container:
            return self._next(request)
        if not resource.object:
            for header in (Client.CONTAINER_QUOTA_BYTES, Client.CONTAINER_QUOTA_COUNT):
                value = request.header(header)
                if value and not quotas.is_quota(value):
                    raise HttpError(400, f"{header} is not a whole number")
        elif request.method == "PUT":
            return self._upload(request, resource)
        return self._next(request)

    def _upload(self, request: SwiftRequest, resource: ResourcePath) -> Response:
        container = self._info.container(request, resource)
        if not has_quota(container):
            return self._next(request)
        key = container_key(resource)
        if request.chunked or does_not_fit(container, quotas.upload_size(request)):
            # What is remembered may be from before a deletion, so look again before refusing: a chunked upload is
            # refused in the middle, when it is too late for that.
            self._cache.invalidate(key)
            container = self._info.container(request, resource)
            if does_not_fit(container, quotas.upload_size(request)):
                raise quotas.refuse(request, container.write_acl)
        quotas.leave_room(request, quotas.parse_quota(container.metadata.get(BYTES_KEY)), container.bytes_used)
        response = self._next(request)
        # The next upload is measured against a container that has this one.
        self._cache.invalidate(key)
        return response


def has_quota(container: ContainerInfo) -> bool:
    """Whether a container has any."""
    return BYTES_KEY in container.metadata or COUNT_KEY in container.metadata


def does_not_fit(container: ContainerInfo, size: int) -> bool:
    """Whether one more object of so many bytes would go beyond a quota."""
    bytes_quota, count_quota = (quotas.parse_quota(container.metadata.get(key)) for key in (BYTES_KEY, COUNT_KEY))
    return quotas.exceeds(bytes_quota, container.bytes_used, size) or quotas.exceeds(
        count_quota, container.object_count, 1
    )
