"""The object server: finds out what a request is about and hands it to the verb's own function."""

import errno
from collections.abc import Callable
from typing import Final

from objstore.cluster import Cluster
from objstore.config.object import ObjectConfig
from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.local import AskedServer
from objstore.http.messages import Request, Response
from objstore.http.transport import BackendRequest, Transport
from objstore.mounts import NO_ROOM, DeviceFull, DeviceRoot
from objstore.object.container_updates.batcher import UpdateBatcher
from objstore.object.container_updates.resend import resend_container_update
from objstore.object.container_updates.sender import ContainerUpdateSender
from objstore.object.container_updates.session import WriterSession
from objstore.object.delete import delete_object
from objstore.object.engine import ObjectCorrupt, make_engine
from objstore.object.fragments import commit_fragment, verify_fragment
from objstore.object.get import NamesQuestion, get_object, head_object
from objstore.object.part_power import LocationResolver, RingOf
from objstore.object.post import post_object
from objstore.object.prepare import prepare_write, repair_replica
from objstore.object.put import put_object
from objstore.object.replication.messages import METHOD
from objstore.object.replication.server import ReplicationServer
from objstore.object.requests import parse_version
from objstore.object.responses import not_found
from objstore.object.service import ObjectService
from objstore.runtime import Runtime

Verb = Callable[[ObjectService, Request], Response]

VERBS: Final[dict[str, Verb]] = {
    "GET": get_object,
    "HEAD": head_object,
    "PUT": put_object,
    "POST": post_object,
    "DELETE": delete_object,
    "COMMIT": commit_fragment,
    "VERIFY": verify_fragment,
    "PREPARE": prepare_write,
    "REPAIR": repair_replica,
    "RESEND_CONTAINER_UPDATE": resend_container_update,
    # Its name in the first release: proxies that are not upgraded yet send it. Goes with the next release.
    "ANNOUNCE": resend_container_update,
}
ALLOW: Final = ", ".join(sorted(VERBS))
# The disk, not the request, is at fault: the proxy goes on to another one.
DISK_ERRORS: Final = frozenset(
    {
        *NO_ROOM,
        errno.EIO,
        errno.EROFS,
        errno.EUCLEAN,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EBUSY,
    }
)


class ObjectServer(AskedServer):
    """Serves the objects on the devices of one machine."""

    def __init__(
        self,
        config: ObjectConfig,
        cluster: Cluster,
        devices: DeviceRoot,
        transport: Transport,
        runtime: Runtime,
        ring_of: RingOf = lambda _policy_index: None,
        is_mine: Callable[[Device], bool] = lambda _device: False,
        ring_in_use: RingOf | None = None,
    ) -> None:
        """Who replicates to here is held against `ring_of` a policy, in which `is_mine` tells this server's devices.

        Objects are placed by `ring_in_use`, which need not look at the ring's file each time; `ring_of`, if not given.
        """
        storage = config.storage
        engine = make_engine(storage.engine, runtime, storage.keep_cache_size)
        locations = LocationResolver(ring_in_use or ring_of, runtime.threads, runtime.clock)
        updates = UpdateBatcher(transport, runtime.log, config.backend.container_update_timeout)
        self.session = WriterSession(config.recon.directory, devices.root, runtime.random, runtime.log)
        self._service = ObjectService(
            cluster=cluster,
            devices=devices,
            engine=engine,
            update_sender=ContainerUpdateSender(cluster.hasher, updates, runtime.threads, self.session),
            clock=runtime.clock,
            allowed_headers=tuple(name.title() for name in storage.allowed_headers),
            locations=locations,
            transport=transport,
            log=runtime.log,
        )
        reclaim_seconds = config.replicator.reclaim_age
        self._replication_server = ReplicationServer(
            engine, cluster, devices, ring_of, is_mine, reclaim_seconds, runtime, locations
        )
        self._log = runtime.log

    def ask(self, request: BackendRequest) -> NamesQuestion:
        """Begin to find out what a device has of an object. Raises HttpError 400, 503 and 507, OSError."""
        headers = request.headers
        target = self._service.target_at(
            request.node.device, str(request.partition), request.path, headers.get(Backend.POLICY_INDEX)
        )
        version, is_enough = parse_version(headers.get(Backend.VERSION_ID)), request.method == "HEAD"
        return NamesQuestion(self._service, target, version, is_enough=is_enough)

    def handle(self, request: Request) -> Response:
        self.session.unfinished += 1
        try:
            response = self._handle(request)
        except Exception:  # not of a request that is cut off: it leaves a write unfinished, perhaps
            self.session.unfinished -= 1
            raise
        self.session.unfinished -= 1
        return response

    def _handle(self, request: Request) -> Response:
        verb = VERBS.get(request.method)
        if verb is None and request.method != METHOD:
            raise HttpError(405, headers={"Allow": ALLOW})
        try:
            return self._replication_server.handle(request) if verb is None else verb(self._service, request)
        except ObjectCorrupt:
            return not_found("")
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            self._log.error("disk failed", path=request.path, error=error)
            if error.errno in NO_ROOM:
                raise DeviceFull(request.path.split("/", 2)[1]) from error
            raise HttpError(507, f"The device failed: {error.strerror}") from error

    def report(self, request: Request, error: Exception) -> None:
        self._log.exception("request failed", method=request.method, path=request.path, error=repr(error))
