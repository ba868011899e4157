"""The cache of accounts and containers that all proxies of a cluster share, in memcached.

`objstore.proxy.core.lookup.Cache` says what it promises.
"""

from __future__ import annotations

from hashlib import md5
from typing import Final, Protocol, TypeVar

import msgspec
from pymemcache.client.hash import HashClient

from objstore.config.proxy import CacheConfig
from objstore.config.units import Address
from objstore.proxy.core.lookup import Cache, LocalCache
from objstore.runtime import Runtime
from objstore.system.clock import Clock
from objstore.system.concurrency import green_socket
from objstore.system.generations import shared_generations

T = TypeVar("T")

# How long memcached says "changed just now". No value whose fetch took longer is kept, so none can slip in after it.
BARRIER_SECONDS: Final = 60
BARRIER: Final = b""
# What came from memcached is believed for so long without asking again; this node's own changes are seen at once.
NEAR_SECONDS: Final = 1.0
CONNECT_TIMEOUT_SECONDS: Final = 0.3
ANSWER_TIMEOUT_SECONDS: Final = 1.0
# The version of what is stored: programs of another one do not see it.
KEY_PREFIX: Final = b"objstore-2:"


class Memcached(Protocol):
    """The part of pymemcache's client that is used; a server that is away counts as an empty one."""

    def get(self, key: str) -> bytes | None: ...

    def gets(self, key: str) -> tuple[bytes | None, bytes | None]: ...

    def add(self, key: str, value: bytes, expire: int) -> bool: ...

    def cas(self, key: str, value: bytes, cas: bytes, expire: int) -> bool | None: ...

    def set(self, key: str, value: bytes, expire: int, noreply: bool) -> bool: ...


class SharedCache:
    """In memcached, for all proxies of the cluster; and for a moment in this process.

    A change leaves a barrier under its key for a while. A value takes the place of what lay there before it was
    fetched, be it nothing or a barrier, and of nothing else: fetched before a change by another proxy, and a moment
    late, it finds its place taken.
    """

    def __init__(self, clock: Clock, client: Memcached, near: LocalCache) -> None:
        self._clock = clock
        self._client = client
        self._near = near

    def get(self, key: str, kind: type[T]) -> T | None:
        """The value from the near cache, or from memcached."""
        known = self._near.get(key, kind)
        if known is not None:
            return known
        generation = self._near.generation(key)
        stored = self._client.get(_short(key))
        if not stored:
            return None
        try:
            value = msgspec.msgpack.decode(stored, type=kind)
        except msgspec.DecodeError:
            return None
        self._near.set(key, value, NEAR_SECONDS, generation)
        return value

    def generation(self, key: str) -> int:
        """The number memcached gives to the key's value; without a value the time in milliseconds, negative."""
        _, number = self._client.gets(_short(key))
        return int(number) if number else -int(self._clock.monotonic() * 1000)

    def set(self, key: str, value: object, seconds: float, generation: int) -> None:
        """Keep it in memcached, unless it changed since `generation`."""
        short, stored = _short(key), msgspec.msgpack.encode(value)
        expire = max(int(seconds), 1)  # in memcached, 0 would be for ever
        if generation > 0:
            self._client.cas(short, stored, str(generation).encode(), expire=expire)
        elif self._clock.monotonic() * 1000 < -generation + BARRIER_SECONDS * 1000 - 1000:
            self._client.add(short, stored, expire=expire)

    def invalidate(self, key: str) -> None:
        """Leave a barrier in memcached, and forget it here."""
        self._client.set(_short(key), BARRIER, expire=BARRIER_SECONDS, noreply=False)
        self._near.invalidate(key)


def make_cache(config: CacheConfig, runtime: Runtime) -> Cache:
    """The cache that the configuration asks for. Raises ValueError for an address that is none."""
    near = LocalCache(runtime.clock, shared_generations())
    if not config.memcached:
        return near
    addresses = [Address.parse(text) for text in config.memcached]
    client = HashClient(
        [(address.host, address.port) for address in addresses],
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        timeout=ANSWER_TIMEOUT_SECONDS,
        no_delay=True,
        socket_module=green_socket,
        key_prefix=KEY_PREFIX,
        use_pooling=True,
        ignore_exc=True,
    )
    return SharedCache(runtime.clock, client, near)


def _short(key: str) -> str:
    """Keys of memcached are short and hold no blanks; names of containers may be anything."""
    return md5(key.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
