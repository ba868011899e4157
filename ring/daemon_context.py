"""What the daemons beside a storage server have in common: where they work, and whom they talk to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from objstore.cluster import Cluster
from objstore.devices import Device
from objstore.http.transport import Transport
from objstore.mounts import DeviceRoot
from objstore.recon import Recon
from objstore.ring.rings import Rings
from objstore.runtime import Runtime

IsMine = Callable[[Device], bool]


@dataclass(frozen=True, slots=True)
class DaemonContext:
    """One machine of a cluster, as each of its daemons is handed it. A simulation passes its own.

    cluster: what all servers of the cluster share.
    devices: the disks of this machine.
    rings: which devices of the cluster hold what. A daemon asks for a ring each time it needs one: it may have changed.
    transport: leads to the servers of all machines, this one's too.
    runtime: time, chance, threads, and where to log.
    recon: where to report passes for operators.
    is_mine: tells the devices of this machine from others of the rings.
    """

    cluster: Cluster
    devices: DeviceRoot
    rings: Rings
    transport: Transport
    runtime: Runtime
    recon: Recon
    is_mine: IsMine
