"""The far end of the pipeline: each kind of request gets the function of its verb."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from objstore.headers import Client
from objstore.http.errors import HttpError
from objstore.http.messages import Response
from objstore.proxy.core.context import ProxyContext
from objstore.proxy.swift.features.quotas import Quotas
from objstore.proxy.swift.handlers.account import AccountHandler
from objstore.proxy.swift.handlers.bulk_delete import BulkDelete
from objstore.proxy.swift.handlers.bulk_extract import BulkExtract
from objstore.proxy.swift.handlers.container import ContainerHandler
from objstore.proxy.swift.handlers.copy import CopyHandler
from objstore.proxy.swift.handlers.manifest_delete import ManifestDelete
from objstore.proxy.swift.handlers.manifest_put import ManifestPut
from objstore.proxy.swift.handlers.object import ObjectHandler
from objstore.proxy.swift.handlers.resolving import Resolver
from objstore.proxy.swift.handlers.symlinks import Symlinks
from objstore.proxy.swift.handlers.versions import ObjectVersioning
from objstore.proxy.swift.methods import allow
from objstore.proxy.swift.request import SwiftRequest

Handler = Callable[[SwiftRequest], Response]


class StorageApplication:
    """Serves the storage API. Refusals are raised as HttpError and CoreError."""

    def __init__(self, context: ProxyContext) -> None:
        self._account_config: Final = context.config.accounts
        quotas = Quotas(context)
        objects = ObjectHandler(context, quotas)
        objects.symlinks = symlinks = Symlinks(context)
        objects.resolver = resolver = Resolver(context, symlinks)
        objects.put_manifest = manifests = ManifestPut(context, resolver.static, objects.store)
        objects.delete_manifest = ManifestDelete(context, objects.delete)
        objects.versions = versions = ObjectVersioning(context)
        objects.copy = copy = CopyHandler(context, quotas, symlinks, resolver, versions, manifests)
        accounts, containers = _verbs(AccountHandler(context)), ContainerHandler(context, versions)
        bulk = BulkDelete(context, objects.delete, containers.delete)
        objects.extract = extract = BulkExtract(context, objects.put, containers.put)
        verbs = {
            "account": accounts | {"PUT": extract.or_else(accounts["PUT"])},
            "container": _verbs(containers) | {"PUT": extract.or_else(containers.put)},
            "object": _verbs(objects) | {"COPY": copy},
        }
        self._verbs: Final = {
            kind: each | {method: bulk.or_else(each[method]) for method in ("POST", "DELETE")}
            for kind, each in verbs.items()
        }

    def handler(self, method: str, kind: str) -> Handler:
        """The function that answers the requests of one method and one kind of path."""
        return self._verbs.get(kind, {}).get(method, self._refuse)

    def _refuse(self, request: SwiftRequest) -> Response:
        raise HttpError(405, headers={Client.ALLOW: allow(request.storage_resource, self._account_config)})


def _verbs(handler: AccountHandler | ContainerHandler | ObjectHandler) -> dict[str, Handler]:
    return {
        "GET": handler.get,
        "HEAD": handler.head,
        "PUT": handler.put,
        "POST": handler.post,
        "DELETE": handler.delete,
    }
