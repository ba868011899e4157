"""The object server's side of replication: it answers what another device's replicator asks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from xxhash import xxh3_128_hexdigest

from objstore.cluster import Cluster
from objstore.contact_record import read_contact_record
from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.logs import Logger
from objstore.mounts import DeviceRoot
from objstore.object.engine import StorageEngine
from objstore.object.part_power import LocationResolver, RingOf
from objstore.object.replication.frames import FrameBody, flattened, frames
from objstore.object.replication.messages import (
    COMPARE_REQUESTS,
    CONTACT_RECORD,
    FILES_MAX,
    MESSAGE_BYTES_MAX,
    NAMES,
    NAMES_MAX,
    OBJECTS,
    PART_POWER,
    PARTITIONS_MAX,
    RING_VERSION,
    SUFFIXES,
    SUFFIXES_MAX,
    CompareRequest,
    CompareResponse,
    Names,
    ReplicationStep,
    Versions,
    decode,
    encode,
)
from objstore.object.replication.receiving import DevicePartition, Receiver
from objstore.object.versions import held_names, is_held, is_suffix, resolve_versions, shared_digest
from objstore.policies import Policy, UnknownPolicy
from objstore.runtime import Runtime
from objstore.system.concurrency import Semaphore, WaitTimeout
from objstore.timestamps import Timestamp

RECEIVERS_MAX: Final = 4
RECEIVER_WAIT_SECONDS: Final = 15.0

_HASH: Final = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch


def digest_of(suffixes: Mapping[str, str]) -> str:
    """One digest of a partition's digests."""
    shared = (f"{suffix}{shared_digest(suffixes[suffix])}" for suffix in sorted(suffixes))
    return xxh3_128_hexdigest("".join(shared).encode())


def reclaim_before(now: float, reclaim_seconds: float) -> str:
    """The timestamp before which tombstones, and metadata without data, may be forgotten: see `is_forgettable`."""
    return Timestamp.from_seconds(max(now - reclaim_seconds, 0.0)).internal


class ReplicationServer:
    """Answers REPLICATE requests."""

    def __init__(
        self,
        engine: StorageEngine,
        cluster: Cluster,
        devices: DeviceRoot,
        ring_of: RingOf,
        is_mine: Callable[[Device], bool],
        reclaim_seconds: float,
        runtime: Runtime,
        locations: LocationResolver,
    ) -> None:
        """`ring_of` reads a ring again if its file has changed."""
        self._engine = engine
        self._cluster = cluster
        self._devices = devices
        self._ring_of = ring_of
        self._is_mine = is_mine
        self._reclaim_seconds = reclaim_seconds
        self._runtime = runtime
        self._log: Logger = runtime.log
        self._locations = locations
        self._receiving: dict[str, Semaphore] = {}

    def handle(self, request: Request) -> Response:
        """Answer one request. Raises HttpError and OSError."""
        try:
            kind = ReplicationStep(request.query.get("step", ""))
        except ValueError:
            raise HttpError(400, "No such step of a sync") from None
        place = self._place(request)
        match kind:
            case ReplicationStep.COMPARE:
                return self._compare(request, place)
            case ReplicationStep.VERSIONS:
                return self._versions(request, place)
            case ReplicationStep.PUSH:
                return self._push(request, place)
            case ReplicationStep.PULL:
                return self._pull(request, place)
            case ReplicationStep.CONFIRM:
                return self._confirm(request, place)

    def _place(self, request: Request) -> DevicePartition:
        parts = request.path.split("/")
        if len(parts) < 3 or not (parts[2].isascii() and parts[2].isdigit()):
            raise HttpError(400, f"Invalid path: {request.path!r}")
        index = request.header(Backend.POLICY_INDEX) or "0"
        try:
            policy: Policy = self._cluster.policies.by_index(int(index))
        except (UnknownPolicy, ValueError):
            raise HttpError(503, f"No storage policy {index!r} here") from None
        power = self._part_power(request, policy)
        path = self._engine.in_service(self._devices, parts[1]).path
        agreement = self._engine.agreement(path) if policy.is_strong else None
        return DevicePartition(parts[1], path, policy, parts[2], power, agreement)

    def _part_power(self, request: Request, policy: Policy) -> int | None:
        """The part power that numbers the partitions of a request; None without a ring. Raises HttpError 409."""
        ring = self._locations.ring(policy.index)
        theirs = request.header(PART_POWER)
        if ring is not None and theirs is not None and theirs != str(ring.part_power):
            raise HttpError(409, "The ring here has another part power")
        return None if ring is None else ring.part_power

    def _compare(self, request: Request, place: DevicePartition) -> Response:
        questions = decode(COMPARE_REQUESTS, request.whole_body(MESSAGE_BYTES_MAX))
        if len(questions) > PARTITIONS_MAX:
            raise HttpError(413, f"At most {PARTITIONS_MAX} partitions")
        return _json(self._runtime.threads.of(place.device).call(self._answers, place, questions))

    def _answers(self, place: DevicePartition, questions: list[CompareRequest]) -> list[CompareResponse]:
        now = self._runtime.clock.now()
        before = reclaim_before(now, self._reclaim_seconds)
        answers, storage = [], self._engine.device(place.device)
        for question in questions:
            partition = str(question.partition)
            digests = storage.digests(place.policy, partition, now, before, place.part_power)
            same = digest_of(digests.suffixes) == question.digest
            answers.append(CompareResponse(None if same else digests.suffixes))
        return answers

    def _versions(self, request: Request, place: DevicePartition) -> Response:
        suffixes = decode(SUFFIXES, request.whole_body(MESSAGE_BYTES_MAX))
        if len(suffixes) > SUFFIXES_MAX or not all(map(is_suffix, suffixes)):
            raise HttpError(400, "Bad suffixes")

        def look() -> Versions:
            return Versions(self._listed(place, suffixes), read_contact_record(place.device, OBJECTS))

        versions = self._runtime.threads.of(place.device).call(look)
        if len(suffixes) > 1 and sum(map(len, versions.names.values())) > NAMES_MAX:
            raise HttpError(413, f"At most {NAMES_MAX} files of several suffixes")
        headers = {} if versions.note is None else {CONTACT_RECORD: encode(versions.note).decode()}
        return _json(versions.names, headers)

    def _listed(self, place: DevicePartition, suffixes: list[str]) -> Names:
        found: Names = {}
        storage = self._engine.device(place.device)
        for suffix in suffixes:
            objects = storage.objects(place.policy, place.partition, suffix, place.part_power)
            for digest, current in objects.items():
                found[digest] = list(held_names(current))
        return found

    def _push(self, request: Request, place: DevicePartition) -> Response:
        receiver = Receiver(
            self._engine.device(place.device),
            self._cluster,
            self._devices,
            self._log,
            place,
            self._locations,
            request.header(Backend.AGREED) or "",
        )
        turn = self._receiving.setdefault(place.device_name, Semaphore(RECEIVERS_MAX))
        try:
            turn.acquire(RECEIVER_WAIT_SECONDS)
        except WaitTimeout:
            raise HttpError(503, "Others are being received") from None
        try:
            return _json(receiver.receive(request.body))
        finally:
            turn.release()

    def _pull(self, request: Request, place: DevicePartition) -> Response:
        wanted = flattened(self._names(request))
        stream = frames(self._engine.device(place.device), place.policy, place.partition, wanted, self._log)
        return Response(200, {Client.CONTENT_TYPE: "application/octet-stream"}, FrameBody(stream))

    def _confirm(self, request: Request, place: DevicePartition) -> Response:
        self._expect_primary(request, place)
        asked = self._names(request)
        held = self._runtime.threads.of(place.device).call(self._held, place, asked)
        # Another process may have named a file and not flushed it yet.
        self._engine.device(place.device).make_durable(place.policy, place.partition)
        return _json(held)

    def _held(self, place: DevicePartition, asked: Names) -> Names:
        before = reclaim_before(self._runtime.clock.now(), self._reclaim_seconds)
        found: Names = {}
        listings: dict[str, dict[str, list[str]]] = {}
        for digest, names in asked.items():
            suffix = digest[-3:]
            if suffix not in listings:
                listings[suffix] = self._listed(place, [suffix])
            current = resolve_versions(listings[suffix].get(digest, ()))
            found[digest] = [name for name in names if is_held(name, current, before)]
        return found

    def _expect_primary(self, request: Request, place: DevicePartition) -> None:
        """Only a primary, which keeps what it confirms, may confirm. Raises HttpError 409."""
        ring = self._ring_of(place.policy.index)
        if ring is None:
            raise HttpError(409, "No ring here")
        version = request.header(RING_VERSION) or "0"
        if not version.isdecimal() or int(version) < ring.version:
            raise HttpError(409, "The ring here is newer")
        if int(place.partition) >= ring.partition_count:
            raise HttpError(409, "No such partition in the ring here")
        mine = filter(self._is_mine, ring.primaries(int(place.partition)))
        if all(device.device != place.device_name for device in mine):
            raise HttpError(409, "Not a primary by the ring here")

    def _names(self, request: Request) -> Names:
        names = decode(NAMES, request.whole_body(MESSAGE_BYTES_MAX))
        if sum(map(len, names.values())) > FILES_MAX:
            raise HttpError(413, f"At most {FILES_MAX} files")
        if not all(map(_HASH, names)):
            raise HttpError(400, "Bad hash")
        return names


def _json(content: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(200, {Client.CONTENT_TYPE: "application/json", **(headers or {})}, encode(content))
