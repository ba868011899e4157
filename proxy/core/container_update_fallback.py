"""Who tells containers of a write.

Each node that stores an object tells one of the container's servers. When a node fails, nobody tells its server, whose
listings would then lack an object that was acknowledged. So a node that did store the object is asked to stand in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from objstore.devices import Device
from objstore.headers import Backend, Client
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.proxy.core.nodes import Placement

if TYPE_CHECKING:
    from objstore.proxy.core.quorum_request import Writer

RESEND_CONTAINER_UPDATE: Final = "RESEND_CONTAINER_UPDATE"
# Each lists servers or their devices, in the same order.
_LISTS: Final = (
    Backend.CONTAINER_HOST,
    Backend.CONTAINER_DEVICE,
    Backend.DELETE_AT_HOST,
    Backend.DELETE_AT_DEVICE,
)
_SHARED: Final = (
    Client.TRANS_ID,
    Client.DELETE_AT,
    Backend.POLICY_INDEX,
    Backend.CONTAINER_PARTITION,
    Backend.DELETE_AT_PARTITION,
    Backend.DELETE_AT_CONTAINER,
)


def reassign_container_updates(
    writer: Writer, place: Placement, headers: Sequence[Mapping[str, str]], informed: Mapping[int, Device]
) -> None:
    """Have the servers told that are named in `headers[i]` for every i without a messenger.

    `informed` are nodes that have stored the object and told theirs. Never raises: replication of the containers
    is what mends the rest.
    """
    if len(informed) == len(headers) or not informed:
        return
    wanted = merge_update_headers([each for index, each in enumerate(headers) if index not in informed])
    if Backend.CONTAINER_HOST not in wanted:
        return
    for node in informed.values():
        request = BackendRequest(RESEND_CONTAINER_UPDATE, node, place.partition, place.path, wanted)
        try:
            response = writer.transport.request(request, b"", writer.timeout_seconds)
        except NodeFailure:
            writer.nodes.record_failure(node)
            continue
        response.close()
        if response.status < 300:
            return


def merge_update_headers(orphans: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The headers of one request that tells all whom these would have told."""
    joined = {name: ",".join(each[name] for each in orphans if each.get(name)) for name in _LISTS}
    shared = {name: each[name] for each in orphans for name in _SHARED if name in each}
    return {name: value for name, value in (joined | shared).items() if value}
