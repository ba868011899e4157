"""What clients do with containers and accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.simulation.model import Kind, Outcome, Write
from tests.simulation.network import rows_in
from tests.simulation.node import Node
from tests.simulation.plan import POLICY_OF, Event
from tests.simulation.services import ACCOUNT, OTHER_ACCOUNT

if TYPE_CHECKING:
    from tests.simulation.clients import Clients

# This one comes and goes, each time under one of these policies.
RECURRING_CONTAINER: Final = "d0"
RECURRING: Final = ("silver", "gold", "coded")
# An operation that makes several writes gives each a number of its own.
STRIDE: Final = 10_000


class Owners:
    """What clients do with containers and accounts: create, empty, list and delete them."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._model = clients.model

    def create(self, event: Event, node: Node) -> None:
        """A container, or one that is there already; what is made again may get another policy."""
        container = event.details["container"]
        policy = RECURRING[event.number % len(RECURRING)] if container == RECURRING_CONTAINER else POLICY_OF[container]
        write = self._model.begin_container(event.number, Kind.PUT, container)
        headers = {"X-Storage-Policy": policy}
        answer = self._clients.send(node, event.number, "PUT", container, headers)
        if self._clients.done(event, answer) in (201, 202):
            self._acknowledged(write)

    def vacate(self, event: Event, node: Node) -> None:
        """Delete all that a container lists, and then itself."""
        container = event.details["container"]
        rows = rows_in(self._clients.send(node, event.number, "GET", container, query="format=json"))
        for count, row in enumerate(rows or (), 1):
            name, number = f"{container}/{row['name']}", event.number + count * STRIDE
            self._clients.remove(name, number, node)
        number = event.number + STRIDE // 2
        write = self._model.begin_container(number, Kind.DELETE, container)
        answer = self._clients.send(node, number, "DELETE", container)
        if self._clients.done(event, answer) == 204:
            self._acknowledged(write)

    def drop_account(self, event: Event, node: Node) -> None:
        """Delete the other account, with all that is in it."""
        self._model.account_dropped = True
        answer = self._clients.send(node, event.number, "DELETE", "", account=OTHER_ACCOUNT)
        self._clients.done(event, answer)

    def list(self, event: Event, node: Node) -> None:
        """The objects of a container."""
        container = event.details["container"]
        for row in self._clients.list_rows(event, node, container) or ():
            if f"{container}/{row['name']}" not in self._model.objects:
                self._clients.violation(f"{container} lists {row['name']}, which was never written")

    def account(self, event: Event, node: Node) -> None:
        """The containers of the account."""
        answer = self._clients.send(node, event.number, "GET", "", query="format=json", account=ACCOUNT)
        self._clients.done(event, answer)
        for row in rows_in(answer) or ():
            if row["name"] not in self._model.containers:
                self._clients.violation(f"the account lists {row['name']}, which was never made")

    def _acknowledged(self, write: Write) -> None:
        if not write.began:
            self._clients.violation(f"acknowledged, but no server was asked: {write}")
        write.outcome = Outcome.ACKNOWLEDGED
