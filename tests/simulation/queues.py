"""What waits in the end: updates of listings, objects to expire, misplaced objects; each for a reason, and a while."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from objstore.container.queue import ACCOUNT as MISPLACED_ACCOUNT
from objstore.container.queue import parse_entry as parse_misplaced
from objstore.db.status import Status
from objstore.object.container_updates.pending import load
from objstore.object.container_updates.sender import EXPIRING_ACCOUNT
from objstore.paths import ResourcePath
from objstore.policies import Policy
from tests.simulation.copy_inventory import CopyInventory, read_table
from tests.simulation.findings import Findings
from tests.simulation.model import Model
from tests.simulation.node import EPOCH
from tests.simulation.services import INTERVAL_SECONDS, OTHER_PREFIX, RECLAIM_SECONDS
from tests.simulation.world import POLICIES, World

# What is due is dealt with in the next pass, or in the one after.
PASSES: Final = 2
Entry = tuple[str, str, str, str]
_ENTRIES: Final = "SELECT name, timestamp, etag, last_modified FROM row WHERE NOT deleted"
_STANDING: Final = (
    "SELECT account, container, created_at, put_timestamp, delete_timestamp, status_changed_at, policy_index"
    " FROM resource"
)
TIMESTAMP_LENGTH: Final = len("1234567890.12345")


class Queues:
    """Nothing waits but what has to: see `run`."""

    def __init__(self, world: World, model: Model, findings: Findings) -> None:
        self._world = world
        self._model = model
        self._inventory = CopyInventory(world)
        self._findings = findings
        self._now = EPOCH + world.hub.now
        self._standings: dict[ResourcePath, Status] = {}
        self._listed: dict[ResourcePath, set[Entry]] = {}  # live rows of the queues' containers

    def run(self) -> None:
        """All of them."""
        self._updates()
        self._read_databases()
        self._expiring()
        self._misplaced()

    def _updates(self) -> None:
        """No update waits but what is for containers that are gone; and that does wait."""
        told = set()
        for path in self._inventory.pending():
            update = load(path)
            name = f"{update.container}/{update.row.name}"
            told.add(name)
            if self._findings.containers.get(update.container, True):
                self._findings.wrong(f"an update was never delivered: {path}")
        for name, state in sorted(self._findings.objects.items()):
            is_placed = self._findings.containers.get(name.partition("/")[0])
            is_kept = state is not None and state.acknowledged and not is_placed
            # What was still written into a deleted account, by whoever had not heard of that, is out of reach for good.
            dropped = self._model.account_dropped and name.startswith(OTHER_PREFIX)
            if is_kept and not dropped and name not in told:
                self._findings.wrong(f"{name} is in no container, and no update of it waits: {state}")

    def _read_databases(self) -> None:
        for files in self._inventory.databases("container").values():
            for _, path in files:
                for account, container, *current in read_table(path, _STANDING):
                    place = ResourcePath(account, container)
                    self._standings[place] = Status(*current)
                    if account in (EXPIRING_ACCOUNT, MISPLACED_ACCOUNT):
                        rows = read_table(path, _ENTRIES)
                        self._listed.setdefault(place, set()).update(rows)

    def _entries(self, account: str) -> Iterator[Entry]:
        for place, rows in sorted(self._listed.items(), key=lambda item: str(item[0])):
            if place.account == account:
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
            path = ResourcePath.parse(f"/{rest}")
            outdated = self._is_over(int(due) + RECLAIM_SECONDS, "expirer")
            current = self._standings.get(path.container_path)
            is_seen = (
                current is not None
                and self._findings.containers.get(path.container, False)
                and self._is_seen(path, timestamp, (POLICIES[current.policy_index],))
            )
            if outdated or (is_seen and self._is_over(int(due), "expirer")):
                self._findings.wrong(f"{name} of {timestamp} is still to expire")

    def _misplaced(self) -> None:
        """An entry stays for the reclaim age if its container is gone, or nothing so new lies in any policy.

        So does that of what is in its place, but was not in a life which only a replica knew that has been lost.
        """
        for name, _, etag, last_modified in self._entries(MISPLACED_ACCOUNT):
            entry = parse_misplaced(name, etag, last_modified)
            outdated = self._is_over(entry.queued_at.seconds + RECLAIM_SECONDS, "reconciler")
            is_there = self._findings.containers.get(entry.path.container, False)
            current = self._standings.get(entry.path.container_path)
            is_unheard_of = (
                current is not None
                and current.policy_index == entry.policy_index
                and entry.incarnation.supersedes(current.incarnation)
            )
            is_seen = is_there and not is_unheard_of and self._is_seen(entry.path, entry.timestamp.normal, POLICIES)
            if outdated or is_seen:
                self._findings.wrong(f"{name} of {etag} is still misplaced")

    def _is_seen(self, path: ResourcePath, timestamp: str, policies: tuple[Policy, ...]) -> bool:
        """Whether a server answers with something so new; it does not tell of metadata beside a tombstone."""
        kinds = {policy.data_dir.replace("objects", "object") for policy in policies}
        found = [copy.current for copy in self._inventory.copies_of(path) if copy.kind in kinds]
        newest = [each.newest_timestamp if each.data else each.timestamp for each in found]
        return any(each[:TIMESTAMP_LENGTH] >= timestamp[:TIMESTAMP_LENGTH] for each in newest)
