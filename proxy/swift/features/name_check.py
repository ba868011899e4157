"""Refuses names that trouble other programs, where the operator wants that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from objstore.config.proxy import ProxyConfig
from objstore.http.errors import HttpError
from objstore.limits import text_of
from objstore.proxy.swift.features.base import Feature
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# Segments that some clients and gateways resolve, so that the request reaches something else.
DOT_SEGMENTS: Final = re.compile(r"/\.\.?(?:/|$)")


class NameCheck(Feature):
    """Looks at the whole path."""

    def __init__(self, context: ProxyContext) -> None:
        self._forbidden = frozenset(context.config.name_check.forbidden_characters)
        self._maximum_length = context.config.name_check.maximum_length

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        """Only where the operator wants it."""
        return config.name_check.enabled

    def sections(self) -> dict[str, dict[str, object]]:
        """Which characters are forbidden, and how long a path may be."""
        forbidden = "".join(sorted(self._forbidden))
        return {"name_check": {"forbidden_chars": forbidden, "maximum_length": self._maximum_length}}

    def __call__(self, request: SwiftRequest) -> None:
        """Raises HttpError 400."""
        path = text_of(request.path, allow_nul=True)
        if not self._forbidden.isdisjoint(path):
            raise HttpError(400, "Object/Container/Account name contains forbidden characters")
        if len(path) > self._maximum_length:
            raise HttpError(400, f"Object/Container/Account name longer than {self._maximum_length}")
        if DOT_SEGMENTS.search(path):
            raise HttpError(400, "Object/Container/Account name contains a dot segment")
