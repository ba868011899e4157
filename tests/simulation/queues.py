"""What waits in the end: updates of listings, objects to expire, misplaced objects; each for a reason, and a while."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.simulation.copy_inventory import CopyInventory, read_table
from tests.simulation.findings import Findings
from tests.simulation.model import Model
from tests.simulation.node import EPOCH
from tests.simulation.services import INTERVAL_SECONDS, OTHER_PREFIX, RECLAIM_SECONDS
from tests.simulation.stored_forms import (
    EXPIRING_ACCOUNT,
    MISPLACED_ACCOUNT,
    TIMESTAMP_LENGTH,
    Incarnation,
    current_incarnation,
    read_misplaced_entry,
    read_pending_update,
)
from tests.simulation.world import OBJECT_KINDS, World

# What is due is dealt with in the next pass, or in the one after.
PASSES: Final = 2
Entry = tuple[str, str, str, str]
_ENTRIES: Final = "SELECT name, timestamp, etag, last_modified FROM row WHERE NOT deleted"
_STATUS: Final = (
    "SELECT account, container, put_timestamp, delete_timestamp, status_changed_at, policy_index FROM resource"
)


class Queues:
    """Checks that nothing waits in a queue longer than it has to."""

    def __init__(self, world: World, model: Model, findings: Findings) -> None:
        self._world = world
        self._model = model
        self._inventory = CopyInventory(world)
        self._findings = findings
        self._now = EPOCH + world.hub.now
        self._incarnations: dict[tuple[str, str], Incarnation] = {}  # by account and container
        self._queued: dict[tuple[str, str], set[Entry]] = {}  # live rows of the queues' containers

    def run(self) -> None:
        """Check every kind of queue."""
        self._updates()
        self._read_databases()
        self._expiring()
        self._misplaced()

    def _updates(self) -> None:
        """No update waits but what is for containers that are gone; and that does wait."""
        waiting = set()
        for path in self._inventory.pending():
            name = read_pending_update(path)
            waiting.add(name)
            if self._findings.containers.get(name.partition("/")[0], True):
                self._findings.wrong(f"an update was never delivered: {path}")
        for name, state in sorted(self._findings.objects.items()):
            is_placed = self._findings.containers.get(name.partition("/")[0])
            is_kept = state is not None and state.acknowledged and not is_placed
            # What was still written into a deleted account, by whoever had not heard of that, is out of reach for good.
            dropped = self._model.account_dropped and name.startswith(OTHER_PREFIX)
            if is_kept and not dropped and name not in waiting:
                self._findings.wrong(f"{name} is in no container, and no update of it waits: {state}")

    def _read_databases(self) -> None:
        for files in self._inventory.databases("container").values():
            for _, path in files:
                for account, container, *status in read_table(path, _STATUS):
                    self._incarnations[account, container] = current_incarnation(*status)
                    if account in (EXPIRING_ACCOUNT, MISPLACED_ACCOUNT):
                        self._queued.setdefault((account, container), set()).update(read_table(path, _ENTRIES))

    def _entries(self, account: str) -> Iterator[Entry]:
        for place, rows in sorted(self._queued.items()):
            if place[0] == account:
                yield from sorted(rows)

    def _is_over(self, moment: float, daemon: str) -> bool:
        """Whether a daemon must have seen, by every clock, that this is in the past."""
        return moment + self._world.spread_seconds + PASSES * INTERVAL_SECONDS[daemon] < self._now

    def _expiring(self) -> None:
        """An entry stays till it is due, and then as long as nothing so new is seen where the object should be.

        That may come yet, or else the deletion which outdid it was forgotten: it stays for the reclaim age.
        """
        for name, timestamp, *_ in self._entries(EXPIRING_ACCOUNT):
            due, _, rest = name.partition("-")
            account, container, _ = rest.split("/", 2)
            outdated = self._is_over(int(due) + RECLAIM_SECONDS, "expirer")
            incarnation = self._incarnations.get((account, container))
            is_seen = (
                incarnation is not None
                and self._findings.containers.get(container, False)
                and self._is_seen(f"/{rest}", timestamp, (OBJECT_KINDS[incarnation.policy_index],))
            )
            if outdated or (is_seen and self._is_over(int(due), "expirer")):
                self._findings.wrong(f"{name} of {timestamp} is still to expire")

    def _misplaced(self) -> None:
        """An entry stays for the reclaim age if its container is gone, or if no policy has anything as new.

        An entry also stays if its version is in the right policy now, but was misplaced in an incarnation of which
        only one replica knew, and that replica has been lost.
        """
        for name, _, etag, last_modified in self._entries(MISPLACED_ACCOUNT):
            entry = read_misplaced_entry(name, etag, last_modified)
            outdated = self._is_over(entry.queued_at + RECLAIM_SECONDS, "reconciler")
            is_there = self._findings.containers.get(entry.container, False)
            current = self._incarnations.get((entry.account, entry.container))
            is_unheard_of = (
                current is not None
                and current.policy_index == entry.policy_index
                and entry.incarnation.replaces(current)
            )
            is_seen = is_there and not is_unheard_of and self._is_seen(entry.path, entry.timestamp, OBJECT_KINDS)
            if outdated or is_seen:
                self._findings.wrong(f"{name} of {etag} is still misplaced")

    def _is_seen(self, path: str, timestamp: str, kinds: tuple[str, ...]) -> bool:
        """Whether a server answers with something so new; it does not tell of metadata beside a tombstone."""
        newest = [copy.versions.newest_timestamp for copy in self._inventory.copies_of(path) if copy.kind in kinds]
        return any(each[:TIMESTAMP_LENGTH] >= timestamp[:TIMESTAMP_LENGTH] for each in newest)
