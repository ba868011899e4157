"""Batches container updates: rows for one container on one server that arrive during a request go into the next one.

No client waits for a server that is unresponsive: rows for it are left to the updater.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from objstore.devices import Device
from objstore.headers import Backend
from objstore.http.errors import HttpError
from objstore.http.transport import BackendRequest, NodeFailure, Transport
from objstore.logs import Logger
from objstore.paths import ResourcePath
from objstore.rows import ObjectRow, encode_rows
from objstore.system.concurrency import Event, WaitTimeout, monotonic, spawn

# So many rows waiting for one server mean that it is far behind: further ones are left to the updater at once.
ROWS_MAX: Final = 10_000
DESTINATIONS_REMEMBERED_MAX: Final = 10_000


class Destination(Struct, frozen=True, eq=False, gc=False):
    """A container on one of its servers; compared by identity, since `destinations` gives one object for one place."""

    node: Device
    partition: int
    container: ResourcePath


_remembered: dict[tuple[str, str | None, str | None, ResourcePath], tuple[Destination, ...]] = {}


def destinations(
    hosts: str | None, devices: str | None, partition: str | None, container: ResourcePath
) -> tuple[Destination, ...]:
    """Read from headers that list an "ip:port" and a device for each replica of the container; [] without hosts.

    Raises HttpError 400 when the lists do not match.
    """
    if not hosts:
        return ()
    key = (hosts, devices, partition, container)
    found = _remembered.get(key)
    if found is None:
        addresses, names = hosts.split(","), (devices or "").split(",")
        if len(addresses) != len(names) or not partition or not partition.isdecimal():
            raise HttpError(400, f"{Backend.CONTAINER_HOST}, device and partition do not match")
        try:
            nodes = [Device.at(*each) for each in zip(addresses, names, strict=True)]
        except ValueError as error:
            raise HttpError(400, str(error)) from None
        found = tuple(Destination(node, int(partition), container) for node in nodes)
        if len(_remembered) >= DESTINATIONS_REMEMBERED_MAX:
            _remembered.clear()
        _remembered[key] = found
    return found


class _Batch:
    """The rows that wait for one destination, and the event that says whether the server has acknowledged them."""

    __slots__ = ("acknowledged", "rows")

    def __init__(self) -> None:
        self.rows: list[ObjectRow] = []
        self.acknowledged: Event[bool] = Event()


class PendingAcknowledgements:
    """One row that was sent to several servers."""

    __slots__ = ("_deadline", "_events")

    def __init__(self, events: list[Event[bool]], deadline: float) -> None:
        self._events = events
        self._deadline = deadline

    def all_acknowledged(self) -> bool:
        """Wait until every server has acknowledged the row; False if one has not by the deadline."""
        return all(self._taken(event) for event in self._events)

    def _taken(self, event: Event[bool]) -> bool:
        try:
            return event.wait(max(self._deadline - monotonic(), 0.0))
        except WaitTimeout:
            return False


class UpdateBatcher:
    """Sends rows in batches; one for a whole process."""

    def __init__(self, transport: Transport, log: Logger, timeout_seconds: float) -> None:
        self._transport = transport
        self._log = log
        self._timeout_seconds = timeout_seconds
        self._batches: dict[Destination, _Batch] = {}

    def start(self, targets: Sequence[Destination], row: ObjectRow) -> PendingAcknowledgements:
        """Send the row to all targets, without waiting."""
        deadline = monotonic() + self._timeout_seconds
        return PendingAcknowledgements([self._enqueue(target, row) for target in targets], deadline)

    def _enqueue(self, target: Destination, row: ObjectRow) -> Event[bool]:
        batch = self._batches.get(target)
        unresponsive = self._transport.is_unresponsive(target.node)
        if batch is not None and (unresponsive or len(batch.rows) >= ROWS_MAX):
            return _refused()
        if batch is None:
            batch = self._batches[target] = _Batch()
            spawn(self._drive, target, batch)
        batch.rows.append(row)
        # It is sent to an unresponsive server too, as a probe, and may be queued beside.
        return _refused() if unresponsive else batch.acknowledged

    def _drive(self, target: Destination, batch: _Batch) -> None:
        """Send one batch after the other until no row waits."""
        try:
            while batch.rows:
                rows, acknowledged = batch.rows, batch.acknowledged
                batch.rows, batch.acknowledged = [], Event()
                acknowledged.set(self._send(target, rows))
        finally:
            del self._batches[target]

    def _send(self, target: Destination, rows: list[ObjectRow]) -> bool:
        """Send one request; returns whether the server has acknowledged the rows."""
        headers = {"Content-Type": "application/json", Backend.POLICY_INDEX: str(rows[0].policy_index)}
        request = BackendRequest("UPDATE", target.node, target.partition, target.container, headers)
        try:
            exchange = self._transport.start(request, encode_rows(rows), self._timeout_seconds)
            response = exchange.response()
            response.close()
        except NodeFailure as failure:
            server = target.node.address
            self._log.repeated("container update failed", server, container=target.container, reason=failure)
            return False
        if response.status // 100 != 2:
            server, status = target.node.address, response.status
            self._log.repeated("container update refused", server, container=target.container, status=status)
        return response.status // 100 == 2


def _refused() -> Event[bool]:
    refused: Event[bool] = Event()
    refused.set(False)
    return refused
