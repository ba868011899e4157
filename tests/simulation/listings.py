"""Listings, counts and bytes must equal the objects, in containers and accounts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tests.simulation.census import Census, read_table
from tests.simulation.clients import CHECK_NUMBER, Clients
from tests.simulation.model import Kind, Model, Write
from tests.simulation.network import Answer
from tests.simulation.world import World

COLUMNS: Final = {
    "container": "name, deleted, timestamp, content_type_timestamp, meta_timestamp, size, etag",
    "account": "name, put_timestamp, delete_timestamp, object_count, bytes_used",
}


def check_listings(
    world: World,
    model: Model,
    clients: Clients,
    states: Mapping[str, Write | None],
    wrong: Callable[[str], None],
) -> None:
    """`states` is what each object has turned out to be."""
    Listings(world, model, clients, states, wrong).run()


class Listings:
    """See `check_listings`."""

    def __init__(
        self,
        world: World,
        model: Model,
        clients: Clients,
        states: Mapping[str, Write | None],
        wrong: Callable[[str], None],
    ) -> None:
        self._world = world
        self._model = model
        self._clients = clients
        self._census = Census(world)
        self._states = states
        self._wrong = wrong

    def run(self) -> None:
        """All of them."""
        self._listings()
        self._databases()
        self._totals()
        self._queues()

    def _send(self, method: str, path: str, query: str = "") -> Answer | None:
        newest = {"X-Newest": "true"}
        return self._clients.send(self._world.proxies[0], CHECK_NUMBER, method, path, newest, query=query)

    def _listings(self) -> None:
        for container in sorted(name for name, made in self._model.containers.items() if made):
            answer = self._send("GET", f"/{container}", "format=json")
            if answer is None or answer.status not in (200, 204):
                self._wrong(f"listing of {container}: {answer.status if answer else 'no answer'}")
                continue
            rows = {row["name"]: row for row in msgspec.json.decode(answer.body)}
            self._compare_listing(container, rows)
            size = sum(row["bytes"] for row in rows.values())
            told = answer.headers["X-Container-Object-Count"], answer.headers["X-Container-Bytes-Used"]
            if told != (str(len(rows)), str(size)):
                self._wrong(f"{container} says it has {told}, and lists {len(rows)} of {size} bytes")

    def _compare_listing(self, container: str, rows: dict[str, Any]) -> None:
        for model in self._model.of_container(container):
            name = model.name.partition("/")[2]
            state, row = self._states.get(model.name), rows.get(name)
            # Of what was never acknowledged, a listing may show any version that may have been.
            candidates = model.candidates()
            allowed = [state, *candidates] if len(candidates) > 1 else [state]
            if not any(_shows(row, each) for each in allowed):
                self._wrong(f"{container} lists {name} as {row}; it is {state}")

    def _databases(self) -> None:
        """All replicas of each database hold the same rows."""
        for kind in ("container", "account"):
            for digest, files in sorted(self._census.databases(kind).items()):
                partition = int(files[0][1].split("/")[-4])
                primaries = self._census.primaries(kind, partition)
                contents = {}
                for disk, path in files:
                    if disk not in primaries:
                        self._wrong(f"{disk} still has {kind} {digest} as a handoff")
                        continue
                    statement = f"SELECT {COLUMNS[kind]} FROM row WHERE NOT deleted ORDER BY name"
                    contents[disk] = read_table(path, statement)
                missing = set(primaries) - set(contents)
                if missing:
                    self._wrong(f"{sorted(missing)} lack {kind} {digest}")
                if len({str(rows) for rows in contents.values()}) > 1:
                    self._wrong(f"replicas of {kind} {digest} differ: { {d: len(r) for d, r in contents.items()} }")

    def _totals(self) -> None:
        """The account's figures are the sums of its containers'."""
        answer = self._send("GET", "", "format=json")
        if answer is None or answer.status != 200:
            self._wrong(f"the account: {answer.status if answer else 'no answer'}")
            return
        listed = {row["name"]: (row["count"], row["bytes"]) for row in msgspec.json.decode(answer.body)}
        real = {}
        for container in sorted(name for name, made in self._model.containers.items() if made):
            head = self._send("HEAD", f"/{container}")
            if head is not None and head.status == 204:
                count, size = head.headers["X-Container-Object-Count"], head.headers["X-Container-Bytes-Used"]
                real[container] = int(count), int(size)
        if {name: figures for name, figures in listed.items() if name in real} != real:
            self._wrong(f"the account lists {listed}, its containers are {real}")

    def _queues(self) -> None:
        pending = self._census.pending()
        if pending:
            self._wrong(f"{len(pending)} updates were never delivered: {pending[0]}")


def _shows(row: dict[str, Any] | None, state: Write | None) -> bool:
    """Whether a row, or none, is what a container lists of an object that is so."""
    if state is None or state.kind is Kind.DELETE:
        return row is None
    return row is not None and (bool(state.copied_from) or row["hash"] == state.etag)
