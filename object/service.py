"""What the verbs of the object server share."""

from collections.abc import Sequence

from msgspec import Struct

from objstore.cluster import Cluster
from objstore.http.messages import Request
from objstore.http.transport import Transport
from objstore.logs import Logger
from objstore.mounts import DeviceRoot
from objstore.object.container_updates.sender import ContainerUpdateSender
from objstore.object.engine import Missing, ObjectCorrupt, PendingCommit, StorageEngine, StoredObject
from objstore.object.part_power import LocationResolver
from objstore.object.requests import Target, delete_at_of, target_of
from objstore.object.versions import ObjectVersions
from objstore.system.clock import Clock


class ObjectService(Struct, frozen=True):
    """Parts of a running server, and questions every verb asks."""

    cluster: Cluster
    devices: DeviceRoot
    engine: StorageEngine
    update_sender: ContainerUpdateSender
    clock: Clock
    allowed_headers: Sequence[str]
    locations: LocationResolver
    transport: Transport
    log: Logger

    def target(self, request: Request) -> Target:
        """The object a request is about. Raises HttpError 400, 412, 503 and 507."""
        asked = target_of(request, self.cluster, self.devices, self.engine)
        location = self.locations.resolve(asked.location)
        return asked if location is asked.location else Target(asked.device, asked.path, asked.storage, location)

    def make_durable(self, target: Target, pending_commit: PendingCommit) -> None:
        """Make a write durable where it will be looked for from now on. Raises OSError."""
        self.locations.make_durable(target.storage, target.location, pending_commit)

    def live(self, target: Target, current: ObjectVersions) -> StoredObject | None:
        """What `current` stands for, opened; None when that is nothing, has expired, or is damaged beyond use."""
        if current.data is None:
            return None
        try:
            stored = target.storage.open(target.location, current)
        except ObjectCorrupt:
            return None
        return None if isinstance(stored, Missing) or self.expired(stored) else stored

    def expired(self, stored: StoredObject) -> bool:
        """Whether its time is over: to clients it is gone, though it may not be removed yet."""
        delete_at = delete_at_of(stored.info.headers)
        return delete_at is not None and delete_at <= self.clock.now()
