"""The way of a request: every feature, in order, and why it stands where it stands."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from objstore.http.messages import Environ, StartResponse
from objstore.proxy.swift.app import StorageApplication
from objstore.proxy.swift.features.access_log import AccessLog
from objstore.proxy.swift.features.account_quotas import AccountQuotas
from objstore.proxy.swift.features.base import Feature, Handler
from objstore.proxy.swift.features.catch_errors import CatchErrors
from objstore.proxy.swift.features.container_quotas import ContainerQuotas
from objstore.proxy.swift.features.copy import Copy
from objstore.proxy.swift.features.cors import Cors
from objstore.proxy.swift.features.gatekeeper import Gatekeeper
from objstore.proxy.swift.features.healthcheck import Healthcheck
from objstore.proxy.swift.features.info import InfoEndpoint, store_section
from objstore.proxy.swift.features.name_check import NameCheck
from objstore.proxy.swift.features.tempauth import TempAuth
from objstore.proxy.swift.features.unsupported import Unsupported
from objstore.proxy.swift.request import SwiftRequest

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext


@dataclass(frozen=True, slots=True)
class Stage:
    """One place in the pipeline."""

    feature: type[Feature]
    why: str


PIPELINE: Final = (
    Stage(AccessLog, "outermost: it logs and times what the client sees, errors too"),
    Stage(CatchErrors, "every answer from here on has an id, and no error goes further"),
    Stage(Gatekeeper, "nothing further in sees internal headers of clients, and no client sees ours"),
    Stage(Healthcheck, "load balancers ask often and without a token"),
    Stage(InfoEndpoint, "public too"),
    Stage(Cors, "before authentication: preflights carry no token, and refusals have to be readable by scripts"),
    Stage(Unsupported, "after CORS, so that scripts can read the refusal; before anything is looked up or stored"),
    Stage(NameCheck, "before anything that spends disk or network"),
    Stage(TempAuth, "before anything that spends disk or network"),
    Stage(Copy, "before the quotas: they weigh the PUT that a copy becomes"),
    Stage(ContainerQuotas, "before the account's, which cost a second look-up"),
    Stage(AccountQuotas, "last before the handlers"),
)


def build(application: Handler, context: ProxyContext) -> Handler:
    """All wanted features around the handlers. Raises ConfigError."""
    handler = application
    features: list[Feature] = []
    for stage in reversed(PIPELINE):
        if stage.feature.wanted(context.config):
            handler = feature = stage.feature(handler, context)
            features.append(feature)
    for info in features:
        if isinstance(info, InfoEndpoint):
            info.publish({"swift": store_section(context)})
            for feature in reversed(features):
                info.publish(feature.sections())
    return handler


class ProxyApplication:
    """The proxy as a WSGI application (PEP 3333)."""

    def __init__(self, context: ProxyContext) -> None:
        """Raises ConfigError."""
        self._handle = build(StorageApplication(context), context)
        self._limits = context.cluster.limits

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """One request."""
        request = SwiftRequest(environ, self._limits)
        return self._handle(request)(environ, start_response)
