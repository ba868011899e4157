"""What every part of the proxy is handed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from objstore.cluster import Cluster
from objstore.config.proxy import ProxyConfig
from objstore.http.transport import Transport
from objstore.ring.rings import Rings
from objstore.runtime import Runtime

if TYPE_CHECKING:
    from objstore.proxy.core.info import InfoSource
    from objstore.proxy.core.nodes import NodeSelector

T = TypeVar("T")


class Cache(Protocol):
    """What this process, and others that share it, remember for a while and forget together.

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


@dataclass(frozen=True, slots=True)
class ProxyContext:
    """Configuration, cluster, and the ways to its servers; one for each process, shared by everything in it."""

    config: ProxyConfig
    cluster: Cluster
    rings: Rings
    transport: Transport
    runtime: Runtime
    info: InfoSource
    cache: Cache
    nodes: NodeSelector
