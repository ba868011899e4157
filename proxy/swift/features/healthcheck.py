"""/healthcheck: whether a load balancer should send requests here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from objstore.http.messages import HEALTHCHECK, Response
from objstore.http.operations import health
from objstore.proxy.swift.features.base import Feature
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext


class Healthcheck(Feature):
    """Says OK unless the operator has put a file in place that takes the proxy out of service."""

    kinds = frozenset({"other"})

    def __init__(self, context: ProxyContext) -> None:
        self._disable_path = context.config.healthcheck.disable_path
        self._rings = context.rings

    def __call__(self, request: SwiftRequest) -> Response | None:
        if request.path != HEALTHCHECK:
            return None
        return health(self._disable_path, self._rings.faults())
