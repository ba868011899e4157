"""Small documents beside the API: the cross-domain policy, and where data is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from objstore.config.proxy import ProxyConfig
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.limits import InvalidText, text_of
from objstore.paths import ResourcePath
from objstore.proxy.core.info import PRESENT
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext
    from objstore.ring.ring import Ring

CROSS_DOMAIN_PATH: Final = "/crossdomain.xml"
ENDPOINTS_PATH: Final = "/endpoints/"


class CrossDomain(Feature):
    """/crossdomain.xml: from which sites programs that keep to Adobe's policy file may read the store."""

    kinds = frozenset({"other"})

    def __init__(self, context: ProxyContext) -> None:
        self._content = (
            '<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM '
            '"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd" >\n'
            f"<cross-domain-policy>\n{context.config.cross_domain.policy}\n</cross-domain-policy>"
        ).encode()

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return bool(config.cross_domain.policy)

    def sections(self) -> Mapping[str, Section]:
        """A section without items."""
        return {"crossdomain": {}}

    def __call__(self, request: SwiftRequest) -> Response | None:
        if request.path != CROSS_DOMAIN_PATH or request.method != "GET":
            return None
        return Response(200, {"Content-Type": "application/xml"}, self._content)


class ListEndpoints(Feature):
    """/endpoints/[v1/|v2/]ACCOUNT[/CONTAINER[/OBJECT]]: the URLs of the primaries, for programs that compute there.

    v2 also gives the headers that a request to these URLs needs. The servers answer only who knows the cluster's
    secrets, where they demand a handshake.
    """

    methods = frozenset({"GET"})
    kinds = frozenset({"other"})

    def __init__(self, context: ProxyContext) -> None:
        self._rings = context.rings
        self._hasher = context.cluster.hasher
        self._lookup = context.lookup

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return config.list_endpoints.enabled

    def __call__(self, request: SwiftRequest) -> Response | None:
        """The list. Raises HttpError 400, 404."""
        if not request.path.startswith(ENDPOINTS_PATH):
            return None
        version, _, rest = request.path.removeprefix(ENDPOINTS_PATH).partition("/")
        if version not in ("v1", "v1.0", "v2"):
            version, rest = "v1", request.path.removeprefix(ENDPOINTS_PATH)
        try:
            path = ResourcePath(*(text_of(part) for part in rest.rstrip("/").split("/", 2)))
        except (InvalidText, TypeError, ValueError):
            raise HttpError(400, "Invalid path") from None
        if not path.account or (path.object and not path.container):
            raise HttpError(400, "Invalid path")
        headers: dict[str, str] = {}
        ring: Ring = self._rings.container if path.container else self._rings.account
        if path.object:
            container = self._lookup.container(path, request.transaction_id)
            if container.existence is not PRESENT:
                raise HttpError(404)
            headers = {"X-Backend-Storage-Policy-Index": str(container.policy_index)}
            ring = self._rings.object(container.policy_index)
        partition = ring.partition_of(self._hasher.digest(path))
        urls = [
            f"http://{device.address}/{device.device}/{partition}{quote(str(path))}"
            for device in ring.primaries(partition)
        ]
        listed: object = {"endpoints": urls, "headers": headers} if version == "v2" else urls
        return Response(200, {"Content-Type": "application/json"}, msgspec.json.encode(listed))
