"""Stores and accounts of which nothing is changed, for the time of a move, or for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.config.proxy import ProxyConfig
from objstore.headers import Client, Sysmeta, is_true
from objstore.http.errors import HttpError
from objstore.proxy.core.info import READ_ONLY, is_read_only
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.handlers.copy import account_in
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

# The reseller sets it on accounts; it is kept as system metadata.
HEADER: Final = "X-Account-Read-Only"


class ReadOnly(Feature):
    """Refuses writes with 405."""

    methods = frozenset({"PUT", "POST", "COPY", "DELETE"})
    kinds = frozenset({"account", "container", "object"})

    def __init__(self, context: ProxyContext) -> None:
        self._config = context.config.read_only
        self._info = context.lookup

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return config.read_only.enabled

    def sections(self) -> Mapping[str, Section]:
        """A section without items."""
        return {"read_only": {}}

    def __call__(self, request: SwiftRequest) -> None:
        """Raises HttpError 403 if somebody but the reseller sets it, 405 for a write that is not to be, 412."""
        path = request.storage_resource
        given = request.header(HEADER)
        if given is not None and not path.container and request.method in ("PUT", "POST"):
            if request.identity is None or not request.identity.reseller_admin:
                raise HttpError(403)
            request.set_header(HEADER, None)
            request.set_header(Sysmeta.ACCOUNT_PREFIX + READ_ONLY, str(is_true(given)).lower() if given.strip() else "")
            return
        if request.method == "DELETE" and self._config.allow_deletes:
            return
        account = path.account
        if request.method == "COPY":
            account = account_in(request.header(Client.DESTINATION_ACCOUNT), account)
        if is_read_only(self._config, self._info.account(account, request.transaction_id)):
            raise HttpError(405, "Writes are disabled for this account.")
