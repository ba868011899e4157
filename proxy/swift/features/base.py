"""The base of all features of the pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from objstore.config.proxy import ProxyConfig
from objstore.http.messages import Response
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# One section of /info.
Section = Mapping[str, object]


class Feature:
    """One stage on the way of a request to its handler, called only for requests that it declares to concern it.

    methods, kinds: those it concerns, None for all; a kind is that of the path: "account", "container", "object" or
    "other". variables: it concerns only requests without a token, with a query string, or with one of these in their
    environ; None for all.
    send: answers requests that the feature makes of its own; the pipeline gives it.
    """

    methods: ClassVar[frozenset[str] | None] = None
    kinds: ClassVar[frozenset[str] | None] = None
    variables: ClassVar[frozenset[str] | None] = None
    send: Callable[[SwiftRequest], Response]

    def __init__(self, context: ProxyContext) -> None:
        """Raises ConfigError."""

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return True

    def sections(self) -> Mapping[str, Section]:
        return {}

    def handler_for(self, kind: str) -> Callable[[SwiftRequest], Response | None]:
        """The function that requests of one kind call: the feature, unless they need only a part of it."""
        return self

    def __call__(self, request: SwiftRequest) -> Response | None:
        """The answer, or None to let the request go on; it may change the request. Refusals are raised as HttpError."""
        raise NotImplementedError
