"""The context that every edge, and every part of one, is given."""

from __future__ import annotations

from dataclasses import dataclass

from objstore.cluster import Cluster
from objstore.config.proxy import ProxyConfig
from objstore.http.transport import Transport
from objstore.proxy.core.accounts import AccountOperations
from objstore.proxy.core.containers import ContainerOperations
from objstore.proxy.core.encryption.key_ring import KeyManager, KeyRing
from objstore.proxy.core.encryption.objects import SealedObjectOperations
from objstore.proxy.core.encryption.opening import Opening
from objstore.proxy.core.encryption.sealing import Sealing
from objstore.proxy.core.fragments.reading import FragmentOperations
from objstore.proxy.core.lookup import Cache, Lookup
from objstore.proxy.core.nodes import NodeSelector
from objstore.proxy.core.objects import ObjectOperations
from objstore.proxy.core.outbox import Outbox
from objstore.proxy.core.quorum_request import Writer
from objstore.proxy.core.quotas import QuotaKeeper
from objstore.proxy.core.reading import Reader
from objstore.proxy.core.strong import Agreement
from objstore.proxy.core.strong_listing import StrongContainers
from objstore.proxy.core.strong_objects import StrongObjects
from objstore.proxy.core.strong_reading import StrongReader
from objstore.proxy.core.uploads import UploadOperations
from objstore.ring.rings import Rings
from objstore.runtime import Runtime


@dataclass(frozen=True, slots=True)
class ProxyContext:
    """Configuration, cluster, and the operations on it; one for each process, shared by everything in it."""

    config: ProxyConfig
    cluster: Cluster
    rings: Rings
    runtime: Runtime
    nodes: NodeSelector
    lookup: Lookup
    objects: ObjectOperations
    containers: ContainerOperations
    accounts: AccountOperations
    uploads: UploadOperations
    quotas: QuotaKeeper
    outbox: Outbox
    keys: KeyManager


def make_context(
    config: ProxyConfig, cluster: Cluster, rings: Rings, transport: Transport, runtime: Runtime, cache: Cache
) -> ProxyContext:
    backend = config.backend
    nodes = NodeSelector(
        runtime.clock, runtime.random, backend.error_suppression_interval, backend.error_suppression_limit
    )
    reader = Reader(transport, nodes, backend.node_timeout)
    writer = Writer(transport, nodes, backend.node_timeout, backend.post_quorum_timeout)
    lookup = Lookup(cluster, rings, reader, cache, config.cache)
    accounts = AccountOperations(cluster, rings, reader, writer, lookup, config.accounts, runtime.clock)
    keys = KeyRing(config.encryption.keys, runtime)
    sealing, opening = Sealing(keys, runtime.threads), Opening(keys, runtime.threads)
    strong = StrongContainers(reader, cluster.limits, runtime.threads)
    containers = ContainerOperations(cluster, rings, reader, writer, lookup, accounts, config.accounts, strong, opening)
    agreement = Agreement(writer, runtime.clock, runtime.random)
    strong_objects = StrongObjects(agreement, StrongReader(reader, agreement), writer, runtime.threads, lookup)
    fragments = FragmentOperations(reader, writer, agreement)
    objects = SealedObjectOperations(
        sealing, opening, cluster, rings, reader, writer, runtime.threads, strong_objects, fragments
    )
    uploads = UploadOperations(objects, containers, lookup, runtime.clock, runtime.random)
    quotas = QuotaKeeper(lookup, runtime.clock)
    outbox = Outbox(cluster, rings, writer, lookup, runtime)
    return ProxyContext(
        config, cluster, rings, runtime, nodes, lookup, objects, containers, accounts, uploads, quotas, outbox, keys
    )
