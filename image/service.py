"""The image service as a whole: from its configuration to a running server."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from objstore.client.connections import ServerAddress
from objstore.client.identity import IdentityClient, ServiceUser
from objstore.client.requests import HttpClient
from objstore.client.store import StoreClient
from objstore.cloud.callers import Callers
from objstore.cloud.database import SqlDatabase
from objstore.cloud.serving import serve
from objstore.cloud.web import CallerLookup, WebApplication
from objstore.config.image import ImageConfig, ImageStoreConfig
from objstore.config.units import Address
from objstore.image.api.data import DataApi
from objstore.image.api.definitions import DefinitionsApi
from objstore.image.api.discovery import DiscoveryApi
from objstore.image.api.faults import render_fault
from objstore.image.api.images import ImagesApi
from objstore.image.api.sharing import SharingApi
from objstore.image.importing import Imports
from objstore.image.model.attributes import ImageLimits
from objstore.image.reclaimer import ImageReclaimer
from objstore.image.remote import RemotePolicy
from objstore.image.stores.s3 import S3ImageStore
from objstore.image.stores.signing import AwsCredentials
from objstore.image.stores.store import ImageStore
from objstore.image.stores.swift import SwiftImageStore
from objstore.image.transfers import StorageQuota, Transfers
from objstore.logs import get_logger

MIGRATIONS: Final = Path(__file__).with_name("migrations")


class ImageWebService:
    """The parts of a service, and how they hang together."""

    def __init__(
        self,
        config: ImageConfig,
        database: SqlDatabase,
        stores: Mapping[str, ImageStore],
        callers: CallerLookup,
        policy: RemotePolicy | None = None,
    ) -> None:
        quota = config.quota
        limits = ImageLimits(quota.properties, quota.tags, quota.members)
        default = config.default_store or config.stores[0].name
        bounds = StorageQuota(
            quota.image_size_total or None,
            quota.image_stage_total or None,
            quota.image_count_total or None,
            quota.image_count_uploading or None,
        )
        self.transfers = Transfers(database, stores, default, quota.image_size_max, bounds)
        self.pool = ThreadPoolExecutor(config.imports.concurrency, "import")
        imports = Imports(self.transfers, policy or policy_of(config), self.pool)
        self.reclaimer = ImageReclaimer(self.transfers, config.reclaim_after)
        data = DataApi(self.transfers, imports)
        routes = [
            *ImagesApi(database, self.transfers, limits).routes(),
            *data.routes(),
            *SharingApi(self.transfers, limits).routes(),
            *DefinitionsApi(self.transfers).routes(),
            *DiscoveryApi(self.transfers, data).routes(),
        ]
        self.application = WebApplication("image", routes, callers, render_fault)


def policy_of(config: ImageConfig) -> RemotePolicy:
    networks = tuple(ipaddress.ip_network(network) for network in config.imports.trusted_networks)
    return RemotePolicy(config.imports.ports, networks)


def store_of(config: ImageStoreConfig) -> ImageStore:
    """Raises ValueError for a URL that is none."""
    if config.kind == "swift":
        ServerAddress.of_url(config.url)
        return SwiftImageStore(config.name, StoreClient(config.url, config.user, config.key), config.container)
    server, _ = ServerAddress.of_url(config.url)
    key = AwsCredentials(config.user, config.key, config.region)
    return S3ImageStore(config.name, server, config.container, key, HttpClient())


def run(config: ImageConfig, stop: threading.Event, listening: Callable[[Address], object] = lambda _: None) -> None:
    """Serve until `stop` is set. Raises OSError, ValueError, DatabaseUnusable."""
    database = SqlDatabase(config.database, MIGRATIONS)
    database.upgrade()
    identity = config.identity
    user = ServiceUser(
        identity.user, identity.password, identity.user_domain, identity.project, identity.project_domain
    )
    callers = Callers(IdentityClient(identity.url, user))
    service = ImageWebService(config, database, {each.name: store_of(each) for each in config.stores}, callers)
    service.reclaimer.start(stop)
    serve(service.application, config.server, get_logger("image"), stop, listening)
    service.transfers.live.cancel(*service.transfers.live.ids)
    service.pool.shutdown(cancel_futures=True)
    database.close()
