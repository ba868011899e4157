"""Rows of containers on the wire: which servers have the row of a write, and what they say of all rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from objstore.container.row_pages import PageQuery, RowPage
from objstore.devices import Device
from objstore.expiry import ASYNC_DELETED, queue_entry_name
from objstore.headers import Backend, Client
from objstore.paths import ResourcePath
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.databases import container_info, listing_parameters
from objstore.proxy.core.backend.objects import TO_CONTAINER, Headers
from objstore.proxy.core.info import ContainerInfo
from objstore.rows import ObjectRow, decode_object_rows
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.http.transport import BackendResponse
    from objstore.proxy.core.listing import ListingQuery
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


# An answer of rows that is longer is taken for none.
ROWS_BYTES_MAX: Final = 64 * 1024 * 1024
_page: Final = msgspec.json.Decoder(RowPage)


class ContainerReplica(Struct, frozen=True):
    """What one replica's answer says of the container as a whole; its times are in the internal form, "" for never.

    digest: of its live rows, equal where these are; "" if the answer has none.
    """

    is_there: bool
    put_at: str
    deleted_at: str
    digest: str


def replica_of(response: BackendResponse) -> ContainerReplica:
    """What the answer to a GET or HEAD says: of what is there, or is not."""
    headers, is_there = response.headers, response.status <= codes.SUCCESS_MAX
    put_at, deleted_at = headers.get(Backend.PUT_TIMESTAMP, ""), headers.get(Backend.DELETE_TIMESTAMP, "")
    # One that is not there has no live rows.
    return ContainerReplica(is_there, put_at, deleted_at, headers.get(Backend.ROWS_DIGEST, "") if is_there else "0")


def newest_info(responses: Iterable[BackendResponse]) -> ContainerInfo:
    """The container with the metadata that was changed last, and the greatest of the counts."""
    found = list(responses)
    newest = container_info(max(found, key=lambda response: response.headers.get(Backend.MODIFIED, "")))
    fullest = max(map(container_info, found), key=lambda info: (info.object_count, info.version_count))
    counts = {name: getattr(fullest, name) for name in ("object_count", "bytes_used", "version_count")}
    return msgspec.structs.replace(newest, **counts)


def page_query(query: ListingQuery, rendering: str, page: PageQuery) -> str:
    """The query string of a page of rows, of those that a listing would show."""
    return urlencode(listing_parameters(query, rendering) | page.parameters)


def rows_headers(headers: Mapping[str, str], policy_index: int) -> Headers:
    """What a request for rows says; `headers` are those of a read."""
    return {**headers, Backend.POLICY_INDEX: str(policy_index)}


def listing_of(response: BackendResponse) -> bytes | None:
    """The page of a listing that a replica has answered with; None if it has none. Raises ValueError, NodeFailure."""
    content = response.read_all(ROWS_BYTES_MAX)
    return None if response.status == codes.NOT_FOUND else content


def page_of(response: BackendResponse) -> RowPage:
    """The page that a replica has answered with. Raises ValueError and NodeFailure."""
    if response.status == codes.NOT_FOUND:  # it has not even a database
        response.close()
        return RowPage([])
    return _page.decode(response.read_all(ROWS_BYTES_MAX))


def rows_of(response: BackendResponse) -> list[ObjectRow]:
    """The rows that a replica has answered with. Raises StoreError and ValueError."""
    if response.status == codes.NOT_FOUND:
        response.close()
        return []
    return decode_object_rows(response.read_all(ROWS_BYTES_MAX))


def names_body(names: Sequence[str]) -> bytes:
    """The body of a request for all rows of these names."""
    return msgspec.json.encode(names)


def sees_reserved(headers: Mapping[str, str]) -> bool:
    """Whether a read lists names that begin with NUL too."""
    return Backend.ALLOW_RESERVED_NAMES in headers


def queue_headers(transaction_id: str) -> Headers:
    """What an UPDATE of an expiry queue says."""
    return {Client.TRANS_ID: transaction_id, Client.CONTENT_TYPE: "application/json", Backend.POLICY_INDEX: "0"}


def deletion_row(path: ResourcePath, moment: int, timestamp: Timestamp) -> ObjectRow:
    """The entry of an expiry queue by which an object is deleted whether it expires or not."""
    return ObjectRow(queue_entry_name(moment, path), timestamp.internal, 0, ASYNC_DELETED, "noetag")
