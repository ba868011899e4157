"""Events that are put into the outbox beside a write: an intent before it, which is settled or withdrawn after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.outbox import OutboxEntry, entry_name, entry_row, outbox_of, removal_row
from objstore.proxy.core.backend import codes, rows
from objstore.proxy.core.errors import CoreError, OutboxFull, QuorumNotReached
from objstore.proxy.core.nodes import Placement
from objstore.quorum import best_status
from objstore.rows import ObjectRow, encode_rows

if TYPE_CHECKING:
    from random import Random

    from objstore.cluster import Cluster
    from objstore.logs import Logger
    from objstore.proxy.core.lookup import InfoSource
    from objstore.proxy.core.quorum_request import Writer
    from objstore.ring.rings import Rings
    from objstore.runtime import Runtime
    from objstore.system.clock import Clock

# Of events for one webhook. Beyond, writes that would make more are refused: the receiver has been away for long.
QUEUED_MAX: Final = 1_000_000


class Intent(Struct, frozen=True):
    """An event that waits for its write, in the outbox of a webhook."""

    webhook: str
    name: str
    entry: OutboxEntry


class Outbox:
    """Puts events into the outboxes of webhooks; one for each process."""

    def __init__(self, cluster: Cluster, rings: Rings, writer: Writer, lookup: InfoSource, runtime: Runtime) -> None:
        self._hasher: Final = cluster.hasher
        self._rings: Final = rings
        self._writer: Final = writer
        self._lookup: Final = lookup
        self._clock: Final[Clock] = runtime.clock
        self._random: Final[Random] = runtime.random
        self._log: Final[Logger] = runtime.log

    def intend(self, webhook: str, entry: OutboxEntry, transaction_id: str) -> Intent:
        """Have a quorum of servers know of an event before its write begins. Raises OutboxFull, QuorumNotReached."""
        if self._lookup.container(outbox_of(webhook), transaction_id).object_count >= QUEUED_MAX:
            raise OutboxFull(webhook)
        now = self._clock.timestamp()
        intent = Intent(webhook, entry_name(now, self._random.getrandbits(64)), entry)
        self._send(webhook, entry_row(intent.name, now, entry), transaction_id)
        return intent

    def settle(self, intent: Intent, transaction_id: str) -> None:
        """The write is done, and this is what the event says of it.

        If no quorum can be told, the event is found by its intent, which is delivered later and says less.
        """
        entry = replace(intent.entry, is_settled=True)
        self._tell(intent, entry_row(intent.name, self._clock.timestamp(), entry), transaction_id)

    def withdraw(self, intent: Intent, transaction_id: str) -> None:
        """The write was refused. If no quorum can be told, the intent is dropped later: its write is not found."""
        self._tell(intent, removal_row(intent.name, self._clock.timestamp()), transaction_id)

    def _tell(self, intent: Intent, row: ObjectRow, transaction_id: str) -> None:
        try:
            self._send(intent.webhook, row, transaction_id)
        except CoreError as error:
            self._log.warning("event not settled", trans_id=transaction_id, webhook=intent.webhook, reason=str(error))

    def _send(self, webhook: str, row: ObjectRow, transaction_id: str) -> None:
        placement = Placement.of(outbox_of(webhook), self._rings.container, self._hasher)
        send_rows(self._writer, placement, [row], transaction_id)


def send_rows(writer: Writer, placement: Placement, sent: Sequence[ObjectRow], transaction_id: str) -> None:
    """Have a quorum of the servers of a container of the store's own merge rows. Raises QuorumNotReached."""
    body, headers = encode_rows(sent), [rows.queue_headers(transaction_id)] * len(placement.primaries)
    result = writer.send("UPDATE", placement, headers, [body] * len(headers))
    if best_status(result.statuses, result.quorum) > codes.SUCCESS_MAX:
        raise QuorumNotReached(placement.path)
