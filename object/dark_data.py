"""Dark data: objects that no container lists, so that nobody can find or delete them. A watcher of the auditor.

One server of a container that does not know an object proves nothing: it may have been empty or away. So an object is
dark only when every server that should hold its container has answered, and none lists it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final
from urllib.parse import quote

import msgspec

from objstore.headers import Backend
from objstore.http.transport import BackendRequest, BackendResponse, NodeFailure
from objstore.object.engine import Location
from objstore.object.metadata import ObjectMetadata
from objstore.object.watchers import WatcherParts
from objstore.paths import ResourcePath
from objstore.policies import Policy
from objstore.timestamps import Timestamp

NODE_TIMEOUT_SECONDS: Final = 10.0
ANSWER_BYTES_MAX: Final = 1024 * 1024


class DarkData:
    """See Watcher."""

    def __init__(self, parts: WatcherParts) -> None:
        self._parts = parts
        self._context = parts.context
        self._counts: Counter[str] = Counter()

    def start(self) -> None:
        """See Watcher."""
        self._counts.clear()

    def see_object(self, metadata: ObjectMetadata, location: Location) -> None:
        """See Watcher."""
        age = self._context.runtime.clock.now() - Timestamp.parse(metadata.timestamp).seconds
        if age < self._parts.config.dark_data_grace_age:
            return
        listed = self._listed(ResourcePath.parse(metadata.name), location.policy)
        outcome = {True: "listed", False: "dark", None: "unknown"}[listed]
        self._counts[outcome] += 1
        if listed is False:
            self._handle(metadata, location)

    def end(self) -> dict[str, int]:
        """See Watcher."""
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

    def _handle(self, metadata: ObjectMetadata, location: Location) -> None:
        engine, runtime = self._parts.engine, self._context.runtime
        action = self._parts.config.dark_data_action
        runtime.log.warning("dark data", name=metadata.name, timestamp=metadata.timestamp, action=action)
        if action == "quarantine":
            engine.quarantine(location, "no container lists it")
        elif action == "delete":
            names = engine.look(location).names
            for partition in (location.partition, *location.others):
                arguments = (location.device, location.policy, partition, location.hash, names)
                runtime.threads.call(engine.remove, *arguments)


def _names(response: BackendResponse, policy: Policy) -> list[str] | None:
    """What a listing shows, [] where there is no container, None if the server cannot say. Raises NodeFailure.

    A container of another policy lists nothing of this one, not even what is about to be moved to its own.
    """
    content = response.read_all(ANSWER_BYTES_MAX)
    if response.status == 404:
        return []
    if response.status not in (200, 204) or response.headers.get(Backend.POLICY_INDEX) != str(policy.index):
        return None
    return [str(row.get("name", "")) for row in msgspec.json.decode(content or b"[]", type=list[dict[str, Any]])]
