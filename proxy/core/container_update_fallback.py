"""Container updates of nodes that failed a write.

Each node that stores an object informs one of the container's servers. If a node fails, its server would hear of the
object only later, though the write was acknowledged. So a node that has stored the object sends one more update request
that covers every container server which the failed nodes would have updated.

Where the object is strongly consistent, its write is acknowledged only when a majority of the container's servers has
the row: a listing asks a majority too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from objstore.devices import Device
from objstore.http.transport import BackendRequest, NodeFailure
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import merge_update_headers
from objstore.proxy.core.backend.rows import StoredWrite, has_sent, key_of, resend_headers
from objstore.proxy.core.errors import QuorumNotReached
from objstore.proxy.core.nodes import Placement, voters_of
from objstore.system import concurrency

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


def require_listed(writer: Writer, placement: Placement, container: Placement, written: Sequence[StoredWrite]) -> None:
    """Have the row of a write on a majority of the container's servers. Raises QuorumNotReached if it cannot be.

    `written` are the nodes of `placement` that have stored it. Primaries of the container that a failed node would
    have informed get the row in any case, so that replicas stay alike.
    """
    voters = voters_of(container)
    listed = {key for each in written for key in each.listed_by}
    missing = [server for server in voters.devices if key_of(server) not in listed]
    if not missing:
        return
    deadline = concurrency.monotonic() + writer.timeout_seconds
    if len(written) < placement.replicas:
        primaries = [server for server in missing if server in container.primaries]
        if primaries and _resent(writer, placement, container, written, primaries, deadline):
            missing = [server for server in missing if server not in primaries]
    for server in list(missing):
        if len(voters.devices) - len(missing) >= voters.quorum:
            return
        if _resent(writer, placement, container, written, [server], deadline):
            missing.remove(server)
    if len(voters.devices) - len(missing) < voters.quorum:
        raise QuorumNotReached(placement.path)


def _resent(
    writer: Writer,
    placement: Placement,
    container: Placement,
    written: Sequence[StoredWrite],
    servers: Sequence[Device],
    deadline: float,
) -> bool:
    """Whether these servers have the row, after one node or another has sent it to them."""
    for each in written:
        left = deadline - concurrency.monotonic()
        if left <= 0:
            return False
        headers = resend_headers(each, servers, container)
        request = BackendRequest(codes.RESEND_CONTAINER_UPDATE, each.node, placement.partition, placement.path, headers)
        try:
            response = writer.transport.request(request, b"", left)
        except NodeFailure:
            writer.nodes.record_failure(each.node)
            continue
        response.close()
        if response.status <= codes.SUCCESS_MAX and has_sent(response):
            return True
    return False
