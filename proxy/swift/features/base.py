"""What every feature of the pipeline is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from objstore.config.proxy import ProxyConfig
from objstore.http.messages import Response
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

Handler = Callable[[SwiftRequest], Response]
# What /info tells of one feature.
Section = Mapping[str, object]


class Feature:
    """One step on the way of a request to the handlers, and of the response back.

    A request that does not concern it is passed to the next one in the first lines. Refusals are raised as HttpError.
    """

    __slots__ = ("_next",)

    def __init__(self, next_handler: Handler, context: ProxyContext) -> None:
        self._next = next_handler

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        """Whether it belongs into the pipeline at all."""
        return True

    def sections(self) -> Mapping[str, Section]:
        """What /info tells of it, by section."""
        return {}

    def __call__(self, request: SwiftRequest) -> Response:
        """Answer, or pass on."""
        raise NotImplementedError
