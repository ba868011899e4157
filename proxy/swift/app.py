"""The application at the end of the pipeline: it serves the storage API from the storage servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from objstore.cluster import Cluster
from objstore.config.proxy import ProxyConfig
from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.http.transport import Transport
from objstore.proxy.core.context import Cache, ProxyContext
from objstore.proxy.core.lookup import Lookup
from objstore.proxy.core.nodes import NodeSelector
from objstore.proxy.core.reading import Reader
from objstore.proxy.swift.handlers.account import AccountHandler
from objstore.proxy.swift.handlers.common import HandlerContext
from objstore.proxy.swift.handlers.container import ContainerHandler
from objstore.proxy.swift.handlers.object import ObjectHandler
from objstore.proxy.swift.methods import allow
from objstore.proxy.swift.request import SwiftRequest
from objstore.ring.rings import Rings
from objstore.runtime import Runtime

Verbs = Mapping[str, Callable[[SwiftRequest], Response]]


def make_context(
    config: ProxyConfig, cluster: Cluster, rings: Rings, transport: Transport, runtime: Runtime, cache: Cache
) -> ProxyContext:
    """What everything in one proxy process shares."""
    backend = config.backend
    nodes = NodeSelector(
        runtime.clock, runtime.random, backend.error_suppression_interval, backend.error_suppression_limit
    )
    info = Lookup(cluster, rings, Reader(transport, nodes, backend.node_timeout), cache, config.cache)
    return ProxyContext(config, cluster, rings, transport, runtime, info, cache, nodes)


class StorageApplication:
    """Sends each request to the function of its verb. Refusals are raised as HttpError."""

    def __init__(self, context: ProxyContext) -> None:
        tools = HandlerContext(context)
        accounts = AccountHandler(tools)
        self._account_config: Final = context.config.accounts
        self._accounts: Final = _verbs(accounts)
        self._containers: Final = _verbs(ContainerHandler(tools, accounts))
        self._objects: Final = _verbs(ObjectHandler(tools))

    def __call__(self, request: SwiftRequest) -> Response:
        """Answer a request of the storage API. Raises HttpError."""
        resource = request.storage_resource
        if resource.object:
            verbs = self._objects
        elif resource.container:
            verbs = self._containers
        else:
            verbs = self._accounts
        answer = verbs.get(request.method)
        if answer is None:
            raise HttpError(405, headers={Client.ALLOW: allow(resource, self._account_config)})
        return answer(request)


def _verbs(handler: AccountHandler | ContainerHandler | ObjectHandler) -> Verbs:
    return {
        "GET": handler.get,
        "HEAD": handler.head,
        "PUT": handler.put,
        "POST": handler.post,
        "DELETE": handler.delete,
    }
