"""What the verbs of the object server share."""

from collections.abc import Sequence

from msgspec import Struct

from objstore.cluster import Cluster
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.http.transport import Transport
from objstore.logs import Logger
from objstore.mounts import DeviceRoot
from objstore.object.container_updates.sender import ContainerUpdateSender
from objstore.object.engine import Location, Missing, ObjectCorrupt, PendingCommit, StorageEngine, StoredObject
from objstore.object.part_power import LocationResolver
from objstore.object.requests import Target, address_of, delete_at_of
from objstore.object.versions import ObjectVersions
from objstore.object_lock import lock_in
from objstore.paths import ResourcePath
from objstore.policies import UnknownPolicy
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
        device, partition, path = address_of(request)
        return self.target_at(device, partition, path, request.header(Backend.POLICY_INDEX))

    def target_at(self, device: str, partition: str, path: ResourcePath, policy_index: str | None) -> Target:
        """An object on a device. Raises HttpError 503 and 507."""
        try:
            policy = self.cluster.policies.by_index(int(policy_index or "0"))
        except (UnknownPolicy, ValueError):
            raise HttpError(503, f"No storage policy {policy_index!r} here") from None
        storage = self.engine.in_service(self.devices, device)
        location = Location(policy, partition, self.cluster.hasher.hexdigest(path), str(path))
        return Target(device, path, storage, self.locations.resolve(location))

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
        """Whether its time is over: to clients it is gone, though it may not be removed yet. A lock comes first."""
        headers = stored.info.headers
        delete_at = delete_at_of(headers)
        if delete_at is None:
            return False
        now = self.clock.now()
        return delete_at <= now and not lock_in(headers).protects(now)

    def is_locked(self, target: Target, version: str, *, bypasses: bool = False) -> bool:
        """Whether a version, "" for the plain line, may be neither removed nor replaced now."""
        _, stored = target.storage.examine(target.location, version)
        if stored is None:
            return False
        stored.close()
        return lock_in(stored.info.headers).protects(self.clock.now(), bypasses=bypasses)
