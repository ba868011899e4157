"""Looks accounts and containers up on their servers, and remembers them for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from objstore.cluster import Cluster
from objstore.config.proxy import CacheConfig
from objstore.http.transport import BackendResponse
from objstore.paths import ResourcePath
from objstore.proxy.core.backend import databases
from objstore.proxy.core.info import ABSENT, DELETED, PRESENT, UNKNOWN, AccountInfo, ContainerInfo
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.reading import Reader
from objstore.ring.rings import Rings
from objstore.system import concurrency
from objstore.system.clock import Clock
from objstore.system.concurrency import Event
from objstore.system.generations import Generations

T = TypeVar("T")
Info = TypeVar("Info", AccountInfo, ContainerInfo)

ENTRIES_MAX: Final = 16_384
# What is not there may be made at any moment, by a proxy that shares no memory with us.
ABSENT_SHARE: Final = 0.1
NOT_THERE: Final = ContainerInfo(ABSENT)
UNKNOWN_ACCOUNT: Final = AccountInfo(UNKNOWN)


class InfoSource(Protocol):
    """Looks accounts and containers up. Never raises for what is not there: `existence` says so."""

    def account(self, account: str, transaction_id: str) -> AccountInfo:
        """The account."""

    def container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo:
        """The container `path` names or lies in; absent too if its account is."""

    def container_and_account(self, path: ResourcePath, transaction_id: str) -> tuple[ContainerInfo, AccountInfo]:
        """Both at once; nothing is known of the store's own accounts."""


class Cache(Protocol):
    """A cache that several processes share: they remember for a while, and forget together.

    A value is set with the generation its key had before the value was fetched: if the key was invalidated
    meanwhile, by any process, the value is not kept. Values are msgspec Structs, shared and never changed.
    """

    def get(self, key: str, kind: type[T]) -> T | None:
        """The value, None if there is none that is young enough and still valid."""

    def generation(self, key: str) -> int:
        """To be read before fetching what will be `set`."""

    def set(self, key: str, value: object, seconds: float, generation: int) -> None:
        """Remember a value for that long."""

    def invalidate(self, key: str) -> None:
        """Make all processes forget the key, before this returns. Call after a write, and before it is answered."""


class LocalCache:
    """Bounded, in this process; what was used last stays longest. The workers of a node forget together."""

    def __init__(self, clock: Clock, generations: Generations, entries_max: int = ENTRIES_MAX) -> None:
        self._clock = clock
        self._generations = generations
        self._entries_max = entries_max
        self._entries: OrderedDict[str, tuple[Any, float, int]] = OrderedDict()

    def get(self, key: str, kind: type[T]) -> T | None:
        """The value, None if there is none that is young enough and still valid."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        value, until, generation = entry
        if generation != self._generations.read(key) or until <= self._clock.monotonic():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value  # type: ignore[no-any-return]

    def generation(self, key: str) -> int:
        """To be read before fetching what will be `set`."""
        return self._generations.read(key)

    def set(self, key: str, value: object, seconds: float, generation: int) -> None:
        """Remember a value for that long, unless its key was invalidated since `generation`."""
        if generation != self._generations.read(key):
            return
        self._entries[key] = (value, self._clock.monotonic() + seconds, generation)
        self._entries.move_to_end(key)
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)

    def invalidate(self, key: str) -> None:
        """Make all processes of this node forget the key."""
        self._generations.bump(key)


class Lookup:
    """The InfoSource of a running proxy. Requests that miss the same item at one time share one fetch."""

    def __init__(self, cluster: Cluster, rings: Rings, reader: Reader, cache: Cache, config: CacheConfig) -> None:
        self._cluster: Final = cluster
        self._internal: Final = cluster.limits.auto_create_account_prefix
        self._rings: Final = rings
        self._reader: Final = reader
        self._cache: Final = cache
        self._config: Final = config
        # Who writes to a container that a client of another proxy has just made must find it.
        self._remembers_absence: Final = not any(policy.is_strong for policy in cluster.policies)
        # By key and generation: a request that comes after a change must not get what was fetched before it.
        self._flights: Final[dict[tuple[str, int], Event[AccountInfo] | Event[ContainerInfo]]] = {}

    def account(self, account: str, transaction_id: str) -> AccountInfo:
        """The account, at most as old as its configured lifetime."""
        found = self._cache.get(f"account/{account}", AccountInfo)
        return self._fetch_account(account, transaction_id) if found is None else found

    def container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo:
        """The container `path` names or lies in, at most as old as its configured lifetime."""
        return self.container_and_account(path, transaction_id)[0]

    def container_and_account(self, path: ResourcePath, transaction_id: str) -> tuple[ContainerInfo, AccountInfo]:
        """Both at once; nothing is known of the store's own accounts."""
        name = path.account
        container = self._cache.get(f"container/{name}/{path.container}", ContainerInfo)
        if name.startswith(self._internal):
            # Such accounts are made on demand: there is a container wherever a row was sent.
            return self._fetch_container(path, transaction_id) if container is None else container, UNKNOWN_ACCOUNT
        account = self._cache.get(f"account/{name}", AccountInfo)
        if container is None:
            if account is None:
                task = concurrency.spawn(self._fetch_account, name, transaction_id)
                container = self._fetch_container(path, transaction_id)
                account = task.wait()
            else:
                container = self._fetch_container(path, transaction_id)
        elif account is None:
            account = self._fetch_account(name, transaction_id)
        existence = account.existence
        return container if existence is PRESENT or existence is UNKNOWN else NOT_THERE, account

    def forget_account(self, account: str) -> None:
        """Have all processes look it up anew: after a write, and before that is answered."""
        self._cache.invalidate(f"account/{account}")

    def forget_container(self, path: ResourcePath) -> None:
        """Have all processes look it up anew: after a write, and before that is answered."""
        self._cache.invalidate(f"container/{path.account}/{path.container}")

    def _fetch_account(self, account: str, transaction_id: str) -> AccountInfo:
        placement = Placement.of(ResourcePath(account), self._rings.account, self._cluster.hasher)
        lifetime = self._config.recheck_account_existence
        return self._fetch(f"account/{account}", placement, databases.account_info, lifetime, transaction_id)

    def _fetch_container(self, path: ResourcePath, transaction_id: str) -> ContainerInfo:
        placement = Placement.of(path.container_path, self._rings.container, self._cluster.hasher)
        key, lifetime = f"container/{path.account}/{path.container}", self._config.recheck_container_existence
        return self._fetch(key, placement, databases.container_info, lifetime, transaction_id)

    def _fetch(
        self,
        key: str,
        placement: Placement,
        info_of: Callable[[BackendResponse], Info],
        lifetime_seconds: float,
        transaction_id: str,
    ) -> Info:
        generation = self._cache.generation(key)
        flight: Event[Info] | None = self._flights.get((key, generation))  # type: ignore[assignment]  # told by the key
        if flight is not None:
            found = flight.wait()
            if self._remembers_absence or found.existence not in (ABSENT, DELETED):
                return found
        flight = Event()
        self._flights[key, generation] = flight
        try:
            headers = databases.read_headers(placement.path, transaction_id)
            found = info_of(self._reader.read("HEAD", placement, headers))
            if found.existence is PRESENT:
                self._cache.set(key, found, lifetime_seconds, generation)
            elif found.existence in (ABSENT, DELETED) and self._remembers_absence:
                self._cache.set(key, found, lifetime_seconds * ABSENT_SHARE, generation)
            flight.set(found)
            return found
        except BaseException as error:
            flight.fail(error)
            raise
        finally:
            if self._flights.get((key, generation)) is flight:
                del self._flights[key, generation]
