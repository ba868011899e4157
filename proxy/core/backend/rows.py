"""Rows of containers on the wire: which servers have the row of a write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.proxy.core.backend.objects import TO_CONTAINER, Headers

if TYPE_CHECKING:
    from objstore.http.transport import BackendResponse
    from objstore.proxy.core.nodes import Placement

ServerKey = tuple[str, str]
PLAIN_LINE: Final = "null"


def key_of(server: Device) -> ServerKey:
    """How headers name a container server."""
    return server.address, server.device


class StoredWrite(Struct, frozen=True):
    """A node that has stored a write of an object, and the container servers that have the row of it by that node.

    version: the line that was written, an internal timestamp or "null".
    """

    node: Device
    listed_by: frozenset[ServerKey]
    version: str
    policy_index: str
    transaction_id: str


def stored_write(node: Device, sent: Mapping[str, str], response: BackendResponse | None = None) -> StoredWrite:
    """What a node's answer to a PUT, POST or DELETE with the headers `sent` says.

    No answer: it has got what was written in another way, or has not said whether it informed anybody.
    """
    answered: Mapping[str, str] = {} if response is None else response.headers
    listed_by: frozenset[ServerKey] = frozenset()
    if response is not None and Backend.UPDATE_QUEUED not in answered and (hosts := sent.get(TO_CONTAINER.host)):
        listed_by = frozenset(zip(hosts.split(","), sent[TO_CONTAINER.device].split(","), strict=True))
    version = answered.get(Backend.VERSION_ID) or sent.get(Backend.VERSION_ID)
    if not version:
        version = sent[Client.TIMESTAMP] if sent.get(Backend.VERSION_MODE) == "keep" else PLAIN_LINE
    return StoredWrite(node, listed_by, version, sent[Backend.POLICY_INDEX], sent.get(Client.TRANS_ID, ""))


def resend_headers(written: StoredWrite, servers: Sequence[Device], container: Placement) -> Headers:
    """What has a node send the row of what it has stored to these servers of the container."""
    return {
        Client.TRANS_ID: written.transaction_id,
        Backend.POLICY_INDEX: written.policy_index,
        Backend.VERSION_ID: written.version,
        TO_CONTAINER.host: ",".join(server.address for server in servers),
        TO_CONTAINER.device: ",".join(server.device for server in servers),
        TO_CONTAINER.partition: str(container.partition),
    }


def has_sent(response: BackendResponse) -> bool:
    """Whether all servers have the row that a node was asked to send again."""
    return Backend.UPDATE_QUEUED not in response.headers
