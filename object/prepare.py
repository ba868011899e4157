"""PREPARE and REPAIR: what a proxy asks that decides a write, or finds that too few devices have the newest version."""

from typing import Final

import msgspec
from msgspec import Struct

from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.messages import Request, Response
from objstore.http.transport import ReplicaFailed
from objstore.object.engine import ObjectInfo
from objstore.object.replication.client import ReplicationClient
from objstore.object.replication.frames import frames
from objstore.object.replication.messages import FILES_MAX, TransferResult
from objstore.object.requests import Target, ignores_expiry, timestamp_of, version_of
from objstore.object.responses import expired, no_data, object_headers, plain
from objstore.object.service import ObjectService
from objstore.object.strong_writes import newest_stamp, refusal, state_headers

MESSAGE_BYTES_MAX: Final = 1024 * 1024
PUSH_SECONDS: Final = 30.0


class RepairOrder(Struct, frozen=True):
    """Send versions of an object, by the names of their files, to the replication `address` of another device."""

    address: str
    device: str
    names: list[str]


_orders: Final = msgspec.json.Decoder(RepairOrder)


def prepare_write(service: ObjectService, request: Request) -> Response:
    """Promise to take no write before X-Timestamp, and say what there is: as HEAD does, 200 or 404.

    409 if something as new was promised, or is stored.
    """
    target = _strong_target(service, request)
    timestamp, version = timestamp_of(request), version_of(request)
    with service.engine.agreement(target.storage.path).held(target.location.hash) as slot:
        current, stored = target.storage.examine(target.location, version)
        line = current.current if version is None else current.line(version)
        if stored is not None:
            stored.close()
        elif line.data is not None:
            raise HttpError(503, "What is stored is damaged")
        if slot.floor >= timestamp or newest_stamp(current) >= timestamp:
            return refusal(slot, current)
        slot.promise(timestamp)
        pushed = slot.pushed
    if stored is None:
        response = no_data(line)
    elif service.expired(stored) and not ignores_expiry(request):
        response = expired(stored.info)
    else:
        response = Response(200, _described(stored.info))
    response.headers |= state_headers(current)
    response.headers |= {Backend.FLOOR: timestamp, Backend.PUSHED: pushed}
    return response


def _described(info: ObjectInfo) -> dict[str, str]:
    # The size stands in a header of its own: the answer has no body, also not one that is left out, as HEAD's is.
    return object_headers(info) | {Backend.OBJECT_LENGTH: str(info.data.size)}


def repair_replica(service: ObjectService, request: Request) -> Response:
    """Push versions to another device, which takes them under X-Backend-Agreed. 202; 409 if it has not taken all."""
    target = _strong_target(service, request)
    agreed = request.header(Backend.AGREED) or ""
    try:
        order = _orders.decode(request.whole_body(MESSAGE_BYTES_MAX))
        node = Device.at(order.address, order.device)
    except (msgspec.DecodeError, ValueError) as error:
        raise HttpError(400, f"Bad order: {error}") from None
    location = target.location
    if len(order.names) > FILES_MAX:
        raise HttpError(413, f"At most {FILES_MAX} files")
    ring = service.locations.ring(location.policy.index)
    power = None if ring is None else ring.part_power
    client = ReplicationClient(service.transport, location.policy, power, PUSH_SECONDS)
    wanted = [(location.hash, name) for name in order.names]
    found = frames(target.storage, location.policy, location.partition, wanted, service.log)
    pieces = (piece for _, each in found for piece in each)
    try:
        results = client.push(node, int(location.partition), pieces, lambda _size: None, agreed)
    except ReplicaFailed as failure:
        raise HttpError(503, str(failure)) from failure
    taken = sum(result in (TransferResult.STORED, TransferResult.NEWER) for result in results)
    return plain(202 if taken == len(wanted) else 409, f"{taken} of {len(wanted)} versions are taken")


def _strong_target(service: ObjectService, request: Request) -> Target:
    target = service.target(request)
    if not target.location.policy.is_strong:
        raise HttpError(400, "The policy's consistency is not strong")
    return target
