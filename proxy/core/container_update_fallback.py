"""Container updates of nodes that failed a write.

Each node that stores an object informs one of the container's servers. If a node fails, its server would hear of the
object only later, though the write was acknowledged. So a node that has stored the object sends one more update request
that covers every container server which the failed nodes would have updated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from objstore.devices import Device
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import merge_update_headers
from objstore.proxy.core.nodes import Placement

if TYPE_CHECKING:
    from objstore.proxy.core.quorum_request import Writer


def reassign_container_updates(
    writer: Writer, placement: Placement, headers: Sequence[Mapping[str, str]], stored: Mapping[int, Device]
) -> None:
    """Have one of the `stored` nodes inform the servers that `headers[i]` name for every i without a node.

    `stored` are nodes that have stored the object and informed their own server. Never raises: replication of the
    containers mends the rest.
    """
    if len(stored) == len(headers) or not stored:
        return
    merged = merge_update_headers([each for index, each in enumerate(headers) if index not in stored])
    if not merged:
        return
    for node in stored.values():
        request = BackendRequest(codes.RESEND_CONTAINER_UPDATE, node, placement.partition, placement.path, merged)
        try:
            response = writer.transport.request(request, b"", writer.timeout_seconds)
        except NodeFailure:
            writer.nodes.record_failure(node)
            continue
        response.close()
        if response.status <= codes.SUCCESS_MAX:
            return
