"""A pass of the replicator: every device goes through its partitions by itself, and none waits for a slow one."""

from __future__ import annotations

from dataclasses import dataclass

from objstore.rate_limiter import RateLimiter
from objstore.system.concurrency import Queue, Semaphore


@dataclass
class DeviceReplicationPass:
    """One pass over one device, with limits of its own. `done` and `total` are partitions.

    `away_since` is a timestamp if the device was away for longer than tombstones last, else "".
    """

    name: str
    path: str
    places: Semaphore
    bytes: RateLimiter
    files: RateLimiter
    away_since: str = ""
    done: int = 0
    total: int = 0
    whole: bool = True  # nothing has failed so far


@dataclass
class ReplicationPass:
    """One pass over all devices of this machine.

    Each piece of work that is over comes out of `news`, with the error if it met one that nobody foresaw. Its length is
    a limit: devices wait for whoever steps.
    """

    devices: list[DeviceReplicationPass]
    news: Queue[Exception | None]
    running: int  # devices that have not come to their end
