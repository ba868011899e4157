"""Looks accounts and containers up on their servers, and remembers them for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from objstore.cluster import Cluster
from objstore.config.proxy import CacheConfig
from objstore.headers import Client
from objstore.paths import ResourcePath
from objstore.proxy.core.context import Cache
from objstore.proxy.core.info import (
    AccountInfo,
    ContainerInfo,
    account_info,
    account_key,
    container_info,
    container_key,
)
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader
from objstore.ring.rings import Rings
from objstore.system import concurrency
from objstore.system.concurrency import Event

if TYPE_CHECKING:
    from objstore.proxy.swift.request import SwiftRequest

Info = TypeVar("Info", AccountInfo, ContainerInfo)

# What is not there may be made at any moment, by a proxy that shares no memory with us.
ABSENT_SHARE: Final = 0.1
GONE: Final = (404, 410)


class Lookup:
    """The InfoSource of a running proxy. Requests that miss the same item at one time share one fetch."""

    def __init__(self, cluster: Cluster, rings: Rings, reader: Reader, cache: Cache, config: CacheConfig) -> None:
        self._cluster: Final = cluster
        self._rings: Final = rings
        self._reader: Final = reader
        self._cache: Final = cache
        self._config: Final = config
        # By key and generation: whoever asks after a change must not get what was fetched before it.
        self._flights: Final[dict[tuple[str, int], Event[AccountInfo] | Event[ContainerInfo]]] = {}

    def account(self, request: SwiftRequest, account: str) -> AccountInfo:
        """See InfoSource."""
        found = self._cache.get(f"account/{account}", AccountInfo)
        return self._fetch_account(request, account) if found is None else found

    def container(self, request: SwiftRequest, resource: ResourcePath) -> ContainerInfo:
        """See InfoSource."""
        name = resource.account
        container = self._cache.get(f"container/{name}/{resource.container}", ContainerInfo)
        if self._cluster.limits.is_internal_account(name):
            # Such accounts are made on demand: there is a container wherever a row was sent.
            return self._fetch_container(request, resource) if container is None else container
        account = self._cache.get(f"account/{name}", AccountInfo)
        if container is None:
            if account is None:
                task = concurrency.spawn(self._fetch_account, request, name)
                container = self._fetch_container(request, resource)
                account = task.wait()
            else:
                container = self._fetch_container(request, resource)
        elif account is None:
            account = self._fetch_account(request, name)
        return ContainerInfo(404) if account.status in GONE else container

    def _fetch_account(self, request: SwiftRequest, account: str) -> AccountInfo:
        path = ResourcePath(account)
        place = Placement.of(path, self._rings.account, self._cluster.hasher)
        lifetime = self._config.recheck_account_existence
        return self._fetch(request, account_key(account), place, account_info, lifetime)

    def _fetch_container(self, request: SwiftRequest, resource: ResourcePath) -> ContainerInfo:
        path = resource.container_path
        place = Placement.of(path, self._rings.container, self._cluster.hasher)
        lifetime = self._config.recheck_container_existence
        return self._fetch(request, container_key(path), place, container_info, lifetime)

    def _fetch(
        self,
        request: SwiftRequest,
        key: str,
        place: Placement,
        read: Callable[[int, Mapping[str, str]], Info],
        lifetime_seconds: float,
    ) -> Info:
        generation = self._cache.generation(key)
        flight: Event[Info] | None = self._flights.get((key, generation))  # type: ignore[assignment]  # told by the key
        if flight is not None:
            return flight.wait()
        flight = Event()
        self._flights[key, generation] = flight
        try:
            response = self._reader.read("HEAD", place, {Client.TRANS_ID: request.transaction_id})
            found = read(response.status, response.headers)
            if found.exists:
                self._cache.set(key, found, lifetime_seconds, generation)
            elif found.status in GONE:
                self._cache.set(key, found, lifetime_seconds * ABSENT_SHARE, generation)
            flight.set(found)
            return found
        except BaseException as error:
            flight.fail(error)
            raise
        finally:
            del self._flights[key, generation]
