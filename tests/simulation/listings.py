"""Listings, counts and bytes must equal the objects, in containers and accounts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from objstore.system import concurrency
from tests.simulation.clients import PATIENCE_SECONDS, Clients
from tests.simulation.copy_inventory import CopyInventory, read_table
from tests.simulation.expiry import Expiry
from tests.simulation.findings import Findings
from tests.simulation.model import Kind, Model, Write
from tests.simulation.network import Answer
from tests.simulation.node import EPOCH
from tests.simulation.plan import CHECK_NUMBER, COMPOSITES, UPLOADS, VERSIONED, is_strong
from tests.simulation.services import ACCOUNTS, INTERVAL_SECONDS, OTHER_ACCOUNT, kind_of, path_of
from tests.simulation.stored_forms import path_digest
from tests.simulation.world import FRAGMENTS_NEEDED, World

LOOKS: Final = 3
SLACK_SECONDS: Final = 60.0
COLUMNS: Final = {
    "container": "name, deleted, version, marker, timestamp, content_type_timestamp, meta_timestamp, size, etag",
    "account": "name, put_timestamp, delete_timestamp, object_count, bytes_used",
}


class Listings:
    """All that containers and accounts say of what they hold."""

    def __init__(
        self, world: World, model: Model, clients: Clients, findings: Findings, look_again: Callable[[], None]
    ) -> None:
        """`look_again` brings the findings on objects up to date: as time goes on, objects expire."""
        self._world = world
        self._model = model
        self._clients = clients
        self._inventory = CopyInventory(world)
        self._expiry = Expiry(world, model)
        self._findings = findings
        self._look_again = look_again

    def run(self) -> None:
        """All of them."""
        self._listings()
        self._databases()
        self._totals()

    def _send(self, method: str, path: str, query: str = "", account: str = "") -> Answer | None:
        proxy, newest = self._world.proxies[0], {"X-Newest": "true"}
        return self._clients.send(proxy, CHECK_NUMBER, method, path, newest, query=query, account=account)

    def _listings(self) -> None:
        for container in sorted(name for name, is_there in self._findings.containers.items() if is_there):
            why = self._why_wrong_listing(container)
            if why:
                # One of its objects may have expired since the states were taken, and the listing not have heard yet.
                concurrency.sleep(SLACK_SECONDS)
                self._look_again()
                why = self._why_wrong_listing(container)
            for each in why:
                self._findings.wrong(each)

    def _why_wrong_listing(self, container: str) -> list[str]:
        answer = self._send("GET", container, "format=json")
        if answer is None or answer.status not in (200, 204):
            return [f"listing of {container}: {answer.status if answer else 'no answer'}"]
        rows = {row["name"]: row for row in msgspec.json.decode(answer.body)}
        why = list(self._wrong_rows(container, rows))
        size = sum(row["bytes"] for row in rows.values())
        told = answer.headers["X-Container-Object-Count"], answer.headers["X-Container-Bytes-Used"]
        # Large objects are listed with the size of the whole; the bytes of versions are those of all of them.
        if container == COMPOSITES or container in UPLOADS or container in VERSIONED:
            told = told[0], str(size)
        if told != (str(len(rows)), str(size)):
            why.append(f"{container} says it has {told}, and lists {len(rows)} of {size} bytes")
        return why

    def _wrong_rows(self, container: str, rows: dict[str, Any]) -> Iterator[str]:
        for model in self._model.of_container(container):
            name = model.name.partition("/")[2]
            state, row = self._findings.objects.get(model.name), rows.get(name)
            candidates, allowed = model.candidates(), [state]
            if len(candidates) > 1:
                # Of what was never acknowledged, a listing may show any version that may have been, or its expiry.
                allowed += [each for each in candidates if each is state or not self._is_unlisted(each)]
                if any(self._expiry.may_be_gone(model, each) for each in candidates):
                    allowed.append(None)
            if not any(_shows(row, each) for each in allowed):
                yield f"{container} lists {name} as {row}; it is {state}"

    def _is_unlisted(self, write: Write | None) -> bool:
        """Whether the row of a write of fragments, too few to count, has had to go with the last of them.

        Who lost them by accident could not see to that.
        """
        if write is None or write.kind is not Kind.PUT or not is_strong(write.name):
            return False
        if kind_of(write.name) not in FRAGMENTS_NEEDED:
            return False
        cuts = self._world.power_cuts
        is_cut = any(write.at - PATIENCE_SECONDS < EPOCH + cut < write.at + PATIENCE_SECONDS for cut in cuts)
        return not is_cut and EPOCH + self._world.disturbed_at < write.at

    def _databases(self) -> None:
        """All replicas of each database hold the same rows."""
        for kind in ("container", "account"):
            for digest, files in sorted(self._inventory.databases(kind).items()):
                partition = int(files[0][1].split("/")[-4])
                primaries = self._inventory.primaries(kind, partition)
                contents = {}
                for disk, path in files:
                    if disk not in primaries:
                        self._findings.wrong(f"{disk} still has {kind} {digest} as a handoff")
                        continue
                    statement = f"SELECT {COLUMNS[kind]} FROM row WHERE deleted != 1 ORDER BY 1, 2, 3"
                    contents[disk] = read_table(path, statement)
                missing = set(primaries) - set(contents)
                # Each replica of what was deleted is forgotten in its own time.
                if missing and not all(map(_is_deleted, (path for _, path in files))):
                    self._findings.wrong(f"{sorted(missing)} lack {kind} {digest}")
                if len({str(rows) for rows in contents.values()}) > 1:
                    lengths = {disk: len(rows) for disk, rows in contents.items()}
                    self._findings.wrong(f"replicas of {kind} {digest} differ: {lengths}")

    def _totals(self) -> None:
        """Each account's figures are the sums of its containers'."""
        for account in ACCOUNTS:
            # Objects go on expiring, and an account hears of that when the updater comes to it.
            for _ in range(LOOKS):
                if not (why := self._why_wrong(account)):
                    break
                concurrency.sleep(INTERVAL_SECONDS["updater"] + SLACK_SECONDS)
            else:
                self._findings.wrong(why)

    def _why_wrong(self, account: str) -> str:
        answer = self._send("GET", "", "format=json", account)
        status = answer.status if answer is not None else 0
        if status == 410 and self._model.account_dropped and account == OTHER_ACCOUNT:
            return self._unreaped()
        if answer is None or status != 200:
            return f"{account}: {status}"
        listed = {row["name"]: (row["count"], row["bytes"]) for row in msgspec.json.decode(answer.body)}
        real = self._figures(account)
        return f"{account} lists {listed}, its containers are {real}" if listed != real else ""

    def _figures(self, account: str) -> dict[str, tuple[int, int]]:
        """Objects and bytes of each of its containers that is there."""
        real = {}
        for container, is_there in sorted(self._findings.containers.items()):
            if is_there and path_of(container).account == account:
                head = self._send("HEAD", container)
                if head is not None and head.status == 204:
                    count, size = head.headers["X-Container-Object-Count"], head.headers["X-Container-Bytes-Used"]
                    real[container] = int(count), int(size)
        return real

    def _unreaped(self) -> str:
        """What is left in a deleted account."""
        digest = path_digest(f"/{OTHER_ACCOUNT}").hex()
        for disk, path in self._inventory.databases("account").get(digest, ()):
            if rows := read_table(path, "SELECT name FROM row WHERE NOT deleted"):
                return f"{disk} still has {rows} in the deleted account"
        return ""


def _is_deleted(path: str) -> bool:
    ((put, deleted),) = read_table(path, "SELECT put_timestamp, delete_timestamp FROM resource")
    return bool(deleted > put)


def _shows(row: dict[str, Any] | None, state: Write | None) -> bool:
    """Whether a row, or none, is what a container lists of an object that is so."""
    if state is None or state.kind is Kind.DELETE:
        return row is None
    return row is not None and (bool(state.copied_from) or row["hash"] == state.etag)
