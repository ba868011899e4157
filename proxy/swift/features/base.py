"""What every feature of the pipeline is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from objstore.config.proxy import ProxyConfig
from objstore.http.messages import Response
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# What /info tells of one feature.
Section = Mapping[str, object]


class Feature:
    """One stage on the way of a request to its handler, called only for requests that it declares to concern it.

    methods, kinds: those it concerns, None for all; a kind is that of the path: "account", "container", "object" or
    "other". variables: it concerns only requests with one of these in their environ, None for all. query: or with a
    query string.
    """

    methods: ClassVar[frozenset[str] | None] = None
    kinds: ClassVar[frozenset[str] | None] = None
    variables: ClassVar[frozenset[str] | None] = None
    query: ClassVar[bool] = False

    def __init__(self, context: ProxyContext) -> None:
        """Raises ConfigError."""

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        """Whether it belongs into the pipeline at all."""
        return True

    def sections(self) -> Mapping[str, Section]:
        """What /info tells of it, by section."""
        return {}

    def handler_for(self, kind: str) -> Callable[[SwiftRequest], Response | None]:
        """What requests of one kind call: the feature itself, unless a part of it is all that concerns them."""
        return self

    def __call__(self, request: SwiftRequest) -> Response | None:
        """The answer, or None to let the request go on; it may change the request. Refusals are raised as HttpError."""
        raise NotImplementedError
