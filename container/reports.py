"""Reporting containers to accounts: at once when a container is created or deleted, later when its totals change.

A report mark, the empty file DEVICE/container_reports/PARTITION-HASH, names a container whose totals have changed since
its last report. It only spares the updater a look into every database: the last report stands in the database itself,
and a sweep of all databases finds those whose mark was lost in a crash.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict, astuple

from objstore.container.rows import ContainerSchema
from objstore.db.location import DatabaseLocation, leave_mark, marked_locations
from objstore.db.status import Status
from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.http.errors import HttpError
from objstore.http.messages import Request
from objstore.http.transport import BackendRequest, Exchange, NodeFailure, Transport
from objstore.logs import Logger
from objstore.paths import ResourcePath
from objstore.rows import ContainerRow, encode_rows
from objstore.system import files
from objstore.system.threads import HUNG_SECONDS, ThreadGroup

ACCOUNT_SERVERS_MAX: Final = 16  # in one request
_PASSED_ON: Final = (Client.TRANS_ID, Backend.ACCOUNT_AUTOCREATE)


class ContainerReport(Struct, frozen=True, gc=False):
    """The state of a container as it is reported to its account."""

    put_timestamp: str
    delete_timestamp: str
    object_count: int
    bytes_used: int
    policy_index: int

    def row(self, name: str, stats_timestamp: str) -> ContainerRow:
        """The row to send; `stats_timestamp` must not be later than the moment the totals were read."""
        return ContainerRow(name, **asdict(self), stats_timestamp=stats_timestamp)


def report_of(status: Status, totals: Mapping[int, Sequence[int]]) -> ContainerReport:
    """How the container stands; misplaced objects, those of other policies, are not counted.

    Bytes are those of all versions.
    """
    rows, used, *versions = totals.get(status.policy_index, (0, 0))  # of an older format: there were none
    return ContainerReport(
        status.put_timestamp, status.delete_timestamp, rows - sum(versions), used, status.policy_index
    )


def last_report(connection: sqlite3.Connection) -> ContainerReport:
    return ContainerReport(
        *connection.execute(
            "SELECT put_timestamp, delete_timestamp, object_count, bytes_used, policy_index FROM report"
        ).fetchone()
    )


def store_report(connection: sqlite3.Connection, report: ContainerReport) -> None:
    """Remember what was reported, inside a transaction."""
    connection.execute(
        "UPDATE report SET put_timestamp = ?, delete_timestamp = ?, object_count = ?, bytes_used = ?, policy_index = ?",
        astuple(report),
    )


def forget_report(connection: sqlite3.Connection) -> None:
    """Some account server may have heard something since, nobody knows which: the next report is due in any case."""
    connection.execute(ContainerSchema.forgotten)


class ReportResult(Struct, frozen=True, gc=False):
    """The responses of account servers, 503 for one that did not respond.

    `outdone_by` is "" or the stats timestamp of newer figures that one of them has.
    """

    statuses: tuple[int, ...]
    outdone_by: str


class AccountReplica(Struct, frozen=True, gc=False):
    node: Device
    partition: int


def account_replicas_of(request: Request) -> list[AccountReplica]:
    """The account servers a request names, [] if none; one host, device and partition for each.

    Raises HttpError 400 when the lists do not match.
    """
    hosts, devices = request.header(Backend.ACCOUNT_HOST), request.header(Backend.ACCOUNT_DEVICE)
    partitions = request.header(Backend.ACCOUNT_PARTITION)
    if not hosts or not devices or not partitions:
        return []
    addresses, names, numbers = (
        [each.strip() for each in text.split(",", ACCOUNT_SERVERS_MAX)] for text in (hosts, devices, partitions)
    )
    if len(numbers) == 1:
        numbers *= len(addresses)
    if not len(addresses) == len(names) == len(numbers) <= ACCOUNT_SERVERS_MAX:
        raise HttpError(400, f"{Backend.ACCOUNT_HOST}, device and partition do not match")
    return [_target(*each) for each in zip(addresses, names, numbers, strict=True)]


def _target(address: str, device: str, partition: str) -> AccountReplica:
    if not (partition.isascii() and partition.isdecimal()):
        raise HttpError(400, f"Bad partition {partition!r}")
    try:
        return AccountReplica(Device.at(address, device), int(partition))
    except ValueError as error:
        raise HttpError(400, str(error)) from None


class AccountReporter:
    def __init__(self, transport: Transport, timeout_seconds: float, log: Logger) -> None:
        self._transport = transport
        self._timeout_seconds = timeout_seconds
        self._log = log

    def tell(
        self, targets: Sequence[AccountReplica], account: str, row: ContainerRow, request: Request | None = None
    ) -> ReportResult:
        headers = {Client.CONTENT_TYPE: "application/json"}
        for name in _PASSED_ON if request is not None else ():
            if request is not None and (value := request.header(name)) is not None:
                headers[name] = value
        body = encode_rows([row])
        exchanges = [self._start(target, account, headers, body) for target in targets]
        answers = [(503, "") if exchange is None else self._answer(exchange) for exchange in exchanges]
        return ReportResult(tuple(status for status, _ in answers), max((newest for _, newest in answers), default=""))

    def _start(self, target: AccountReplica, account: str, headers: Mapping[str, str], body: bytes) -> Exchange | None:
        request = BackendRequest("UPDATE", target.node, target.partition, ResourcePath(account), headers)
        try:
            return self._transport.start(request, body, self._timeout_seconds)
        except NodeFailure as failure:
            self._log.repeated("account not told", target.node.address, account=account, reason=failure)
            return None

    def _answer(self, exchange: Exchange) -> tuple[int, str]:
        try:
            response = exchange.response()
        except NodeFailure as failure:
            self._log.repeated("account not told", exchange.node.address, reason=failure)
            return 503, ""
        response.close()
        return response.status, response.headers.get(Backend.STATS_TIMESTAMP, "")


MARKS: Final = "container_reports"  # folder of a device
LEFT_REMEMBERED_MAX: Final = 100_000
_left: set[str] = set()  # marks that this process has left


def leave_report_mark(location: DatabaseLocation, threads: ThreadGroup) -> None:
    """Leave a mark, after the change is committed. Raises OSError."""
    path = location.mark(MARKS)
    # The kernel remembers a mark that was left a while ago: to ask for it does not wait for the disk.
    if path not in _left or not os.path.exists(path):
        threads.of(location.root).call_within(HUNG_SECONDS, leave_mark, path)
        if len(_left) >= LEFT_REMEMBERED_MAX:
            _left.clear()
        _left.add(path)


def clear_report_mark(location: DatabaseLocation, threads: ThreadGroup) -> None:
    """Remove the mark, before the totals are read: a later change then leaves a new one. Raises OSError."""
    threads.of(location.root).call_within(HUNG_SECONDS, files.unlink_quietly, location.mark(MARKS))


def marked_containers(root: str) -> list[DatabaseLocation]:
    """The databases marked on a device. Blocks; raises OSError."""
    return marked_locations(root, MARKS, ContainerSchema.folder)
