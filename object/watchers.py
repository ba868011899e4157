"""Watchers: the auditor shows them every object that it finds undamaged.

The auditor's option `watchers` names those to use: `dark_data`, which is here, or watchers of other packages, which
register a factory (WatcherParts in, Watcher out) as an entry point of the group `objstore.object_watchers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec
from msgspec import Struct

from objstore.config.object import AuditorConfig
from objstore.headers import Backend
from objstore.http.transport import BackendRequest, BackendResponse, NodeFailure
from objstore.object.engine import DeviceStorage, Location
from objstore.object.metadata import ObjectMetadata
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.ring.daemon_context import DaemonContext
from objstore.timestamps import Timestamp

ENTRY_POINTS: Final = "objstore.object_watchers"


class Watcher(Protocol):
    """Sees all objects of all devices, once in each full pass. What it raises is logged and otherwise ignored."""

    def start(self) -> None:
        """A pass begins."""

    def see_object(self, metadata: ObjectMetadata, storage: DeviceStorage, location: Location) -> None:
        """An object as it was stored, and where it lies."""

    def end(self) -> dict[str, int]:
        """A pass is over: counts to report."""


class WatcherParts(Struct, frozen=True):
    """What a watcher is made from."""

    config: AuditorConfig
    context: DaemonContext


WatcherFactory = Callable[[WatcherParts], Watcher]


class UnknownWatcher(ValueError):
    """No watcher has this name."""


def make_watchers(names: Sequence[str], own: dict[str, WatcherFactory], parts: WatcherParts) -> dict[str, Watcher]:
    """The watchers of these names: our `own`, or those of other packages. Raises UnknownWatcher."""
    made: dict[str, Watcher] = {}
    for name in names:
        factory = own.get(name)
        if factory is None:
            found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
            if found is None:
                raise UnknownWatcher(f"no watcher is called {name!r}")
            factory = found.load()
        made[name] = factory(parts)
    return made


NODE_TIMEOUT_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 1024 * 1024


class DarkData:
    """Finds dark data: objects that no container lists, so that no client can find or delete them.

    An object is dark only when every server that should hold its container has answered and none lists the object: one
    server alone may have been emptied, or away, when the object was stored.
    """

    def __init__(self, parts: WatcherParts) -> None:
        self._parts = parts
        self._context = parts.context
        self._counts: Counter[str] = Counter()

    def start(self) -> None:
        self._counts.clear()

    def see_object(self, metadata: ObjectMetadata, storage: DeviceStorage, location: Location) -> None:
        """Ask the container for the object, unless it is younger than `dark_data_grace_age`."""
        age = self._context.runtime.clock.now() - Timestamp.parse(metadata.timestamp).seconds
        if age < self._parts.config.dark_data_grace_age:
            return
        listed = self._listed(ResourcePath.parse(metadata.name), location.policy)
        outcome = {True: "listed", False: "dark", None: "unknown"}[listed]
        self._counts[outcome] += 1
        if listed is False:
            self._handle(metadata, storage, location)

    def end(self) -> dict[str, int]:
        """How many objects were listed, dark, or of unknown state."""
        return dict(self._counts)

    def _listed(self, path: ResourcePath, policy: Policy) -> bool | None:
        """Whether a server of the container lists the object; None if none does and not all can say."""
        context, container = self._context, path.container_path
        ring = context.rings.container
        partition = ring.partition_of(context.cluster.hasher.digest(container))
        query = f"format=json&limit=1&prefix={quote(path.object, safe='')}"
        headers = {Backend.ALLOW_RESERVED_NAMES: "true"}
        complete = True
        for node in ring.primaries(partition):
            request = BackendRequest("GET", node, partition, container, headers, query)
            try:
                names = _names(context.transport.request(request, b"", NODE_TIMEOUT_SECONDS), policy)
            except (NodeFailure, ValueError):
                names = None
            if names is None:
                complete = False
            elif path.object in names:
                return True
        return False if complete else None

    def _handle(self, metadata: ObjectMetadata, storage: DeviceStorage, location: Location) -> None:
        runtime = self._context.runtime
        action = self._parts.config.dark_data_action
        runtime.log.warning("dark data", name=metadata.name, timestamp=metadata.timestamp, action=action)
        found = storage.look(location).current
        if found.timestamp != metadata.timestamp:
            return  # replaced meanwhile
        if action == "quarantine":
            storage.quarantine(location, "no container lists it", found.version)
        elif action == "delete":
            names = found.names
            for partition in (location.partition, *location.others):
                runtime.threads.of(storage.path).call(storage.remove, location.policy, partition, location.hash, names)


def _names(response: BackendResponse, policy: Policy) -> list[str] | None:
    """The names in a listing, [] if there is no container, None if the server failed. Raises NodeFailure.

    A container of another policy lists nothing of this one, not even what is about to be moved to its own.
    """
    content = response.read_all(ANSWER_BYTES_MAX)
    if response.status == 404:
        return []
    if response.status not in (200, 204) or response.headers.get(Backend.POLICY_INDEX) != str(policy.index):
        return None
    return [str(row.get("name", "")) for row in msgspec.json.decode(content or b"[]", type=list[dict[str, Any]])]
