"""ETags in quotation marks, as HTTP wants them (RFC 9110, section 8.8.3), where an account or a container asks for it.

Clients of the Swift API expect the bare MD5, and caches and browsers the marks, so owners choose:
X-Account-Rfc-Compliant-Etags and X-Container-Rfc-Compliant-Etags, which override the operator's choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.config.proxy import ProxyConfig
from objstore.headers import Client, Sysmeta, is_true
from objstore.http.messages import Response
from objstore.proxy.swift.features.base import Feature, Section
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext

KEPT: Final = "Rfc-Compliant-Etags"
_KIND: Final = {
    "account": ("X-Account-", Sysmeta.ACCOUNT_PREFIX),
    "container": ("X-Container-", Sysmeta.CONTAINER_PREFIX),
}


class EtagQuoter(Feature):
    """Keeps what owners choose as system metadata, and puts marks around the ETags of objects."""

    kinds = frozenset({"account", "container", "object"})

    def __init__(self, context: ProxyContext) -> None:
        self._info = context.lookup
        self._by_default = context.config.etag_quoter.enable_by_default

    @classmethod
    def wanted(cls, config: ProxyConfig) -> bool:
        return config.etag_quoter.enabled

    def sections(self) -> Mapping[str, Section]:
        """Whether ETags have marks where nobody has chosen."""
        return {"etag_quoter": {"enable_by_default": self._by_default}}

    def __call__(self, request: SwiftRequest) -> None:
        """Arrange for the answer to be changed, or for the choice to be kept."""
        if request.kind == "object":
            if self._is_wanted(request):
                request.amendments.append(quoted)
            return
        public, kept = _KIND[request.kind]
        if request.method in ("PUT", "POST"):
            given = request.header(public + KEPT)
            if given is not None:
                request.set_header(public + KEPT, None)
                request.set_header(kept + KEPT, str(is_true(given)).lower() if given.strip() else "")
        else:
            request.amendments.append(lambda response: self._shown(request, response))

    def _is_wanted(self, request: SwiftRequest) -> bool:
        container, account = self._info.container_and_account(request.storage_resource, request.transaction_id)
        for chosen in (container.sysmeta.get(KEPT), account.sysmeta.get(KEPT)):
            if chosen:
                return is_true(chosen)
        return self._by_default

    def _shown(self, request: SwiftRequest, response: Response) -> Response:
        path = request.storage_resource
        info = self._info.container(path, "") if path.container else self._info.account(path.account, "")
        if response.status < 300 and info.sysmeta.get(KEPT):
            response.headers[_KIND[request.kind][0] + KEPT] = info.sysmeta[KEPT].title()
        return response


def quoted(response: Response) -> Response:
    """The answer with marks around its ETag."""
    etag = response.headers.get(Client.ETAG)
    if etag and not etag.startswith(('"', 'W/"')):
        response.headers[Client.ETAG] = f'"{etag}"'
    return response
