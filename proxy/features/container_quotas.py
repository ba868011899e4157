"""Containers with a limit that their owners set: X-Container-Meta-Quota-Bytes and X-Container-Meta-Quota-Count."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.proxy.features import quotas
from objstore.proxy.features.base import Feature, Handler, Section
from objstore.proxy.request import Request

if TYPE_CHECKING:
    from objstore.proxy.context import ProxyContext

# In the metadata of a container.
BYTES_KEY: Final = "Quota-Bytes"
COUNT_KEY: Final = "Quota-Count"


class ContainerQuotas(Feature):
    """Refuses uploads beyond the quota with 413, and quotas that are no numbers with 400."""

    __slots__ = ("_info",)

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        super().__init__(next_handler, context)
        self._info = context.info

    def sections(self) -> Mapping[str, Section]:
        """See Feature."""
        return {"container_quotas": {}}

    def __call__(self, request: Request) -> Response:
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
            self._check_upload(request)
        return self._next(request)

    def _check_upload(self, request: Request) -> None:
        container = self._info.container(request, request.storage_resource.container_path)
        metadata = container.metadata
        if not metadata or not container.exists:
            return
        if quotas.exceeds(
            quotas.parse_quota(metadata.get(BYTES_KEY)), container.bytes_used, quotas.upload_size(request)
        ) or quotas.exceeds(quotas.parse_quota(metadata.get(COUNT_KEY)), container.object_count, 1):
            raise quotas.refuse(request, container.write_acl)
