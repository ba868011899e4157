"""Accounts and containers on the wire of the storage servers: what is asked, and what the answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import msgspec

from objstore.headers import CONTAINER_OWNER_HEADERS, Backend, Client, Sysmeta, family, of_owner
from objstore.http.transport import BackendResponse
from objstore.limits import Limits
from objstore.paths import ResourcePath
from objstore.proxy.core import errors
from objstore.proxy.core.backend import codes
from objstore.proxy.core.backend.objects import TO_ACCOUNT, Headers, add_updates
from objstore.proxy.core.info import ABSENT, DELETED, PRESENT, UNKNOWN, AccountInfo, ContainerInfo, PolicyStats
from objstore.proxy.core.listing import ListingQuery, VersionsQuery
from objstore.quorum import best_status
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.accounts import WriteAccount
    from objstore.proxy.core.containers import PutContainer, WriteContainer
    from objstore.proxy.core.nodes import Placement
    from objstore.proxy.core.quorum_request import QuorumResult

_stats: Final = msgspec.json.Decoder(dict[int, PolicyStats])


def read_headers(path: ResourcePath, transaction_id: str) -> Headers:
    """What a GET or HEAD of an account or container says."""
    return {Client.TRANS_ID: transaction_id} | _reserved(path)


def _reserved(path: ResourcePath) -> Headers:
    """What lets a request through to a container of our own, whose name no client can send."""
    return {Backend.ALLOW_RESERVED_NAMES: "true"} if path.container.startswith("\0") else {}


def listing_query(query: ListingQuery, rendering: str) -> str:
    """The query string of a listing, which its server renders as "json", "xml" or "plain"."""
    return urlencode(listing_parameters(query, rendering))


def listing_parameters(query: ListingQuery, rendering: str) -> dict[str, str]:
    """What the query string of a listing says."""
    asked = {"limit": query.limit, "marker": query.marker, "end_marker": query.end_marker, "prefix": query.prefix}
    asked |= {"delimiter": query.delimiter, "path": query.path, "reverse": query.reverse}
    if isinstance(query, VersionsQuery):
        asked |= {"versions": "true", "version_marker": query.version_marker}
    return {name: value for name, value in asked.items() if value is not None} | {"format": rendering}


def write_account_headers(command: WriteAccount) -> Headers:
    """What a PUT, POST or DELETE of an account says."""
    headers = {Client.TRANS_ID: command.transaction_id, Client.TIMESTAMP: command.timestamp.internal}
    headers |= {Client.ACCOUNT_META_PREFIX + name: value for name, value in command.metadata.items()}
    headers |= {Sysmeta.ACCOUNT_PREFIX + name: value for name, value in command.sysmeta.items()}
    return headers


def write_container_headers(command: WriteContainer, placement: Placement, account: Placement | None) -> list[Headers]:
    """For each node what a PUT, POST or DELETE of a container says, and which account servers it informs."""
    headers = {Client.TRANS_ID: command.transaction_id, Client.TIMESTAMP: command.timestamp.internal}
    headers |= {Client.CONTAINER_META_PREFIX + name: value for name, value in command.metadata.items()}
    headers |= {Sysmeta.CONTAINER_PREFIX + name: value for name, value in command.sysmeta.items()}
    headers |= of_owner(command) | _reserved(command.path)
    each = [headers.copy() for _ in placement.primaries]
    if account is not None:
        add_updates(each, account, TO_ACCOUNT)
    return each


def new_container_headers(command: PutContainer, default_index: int, account_autocreate: bool) -> Headers:
    """Which storage policy a new container gets, and whether account servers that lack its account make it."""
    headers = {Backend.POLICY_DEFAULT: str(default_index)}
    if account_autocreate:
        headers[Backend.ACCOUNT_AUTOCREATE] = "true"
    if command.policy_index is not None:
        headers[Backend.POLICY_INDEX] = str(command.policy_index)
    return headers


def account_outcome(path: ResourcePath, result: QuorumResult, limits: Limits) -> bool:
    """Whether the write of an account has made it anew. Raises CoreError."""
    status = best_status(result.statuses, result.quorum)
    if status <= codes.SUCCESS_MAX:
        return status == codes.CREATED
    deleted = result.header(codes.NOT_FOUND, Client.ACCOUNT_STATUS) is not None
    if status == codes.FORBIDDEN:
        raise errors.AccountNotReaped(path)
    if status == codes.NOT_FOUND:
        raise errors.AccountDeleted(path) if deleted else errors.AccountNotFound(path)
    raise _error(path, status, limits)


def container_outcome(path: ResourcePath, result: QuorumResult, limits: Limits) -> bool:
    """Whether the write of a container has made it anew. Raises CoreError."""
    status = best_status(result.statuses, result.quorum)
    if status <= codes.SUCCESS_MAX:
        return status == codes.CREATED
    if status == codes.NOT_FOUND:
        raise errors.ContainerNotFound(path)
    if status == codes.CONFLICT and result.header(codes.CONFLICT, Backend.POLICY_INDEX) is not None:
        raise errors.PolicyConflict(path)
    if status == codes.CONFLICT and result.header(codes.CONFLICT, Backend.TIMESTAMP) is None:
        raise errors.ContainerNotEmpty(path)
    raise _error(path, status, limits)


def _error(path: ResourcePath, status: int, limits: Limits) -> errors.CoreError:
    if status == codes.CONFLICT:
        return errors.NewerStored(path)
    return errors.MetadataRefused(path, limits) if status == codes.INVALID else errors.QuorumNotReached(path)


def account_info(response: BackendResponse) -> AccountInfo:
    status, headers = response.status, response.headers
    if status > codes.SUCCESS_MAX:
        if headers.get(Client.ACCOUNT_STATUS, "").lower() == "deleted":
            return AccountInfo(DELETED)
        return AccountInfo(ABSENT if status == codes.NOT_FOUND else UNKNOWN)
    return AccountInfo(
        PRESENT,
        container_count=_number(headers, Client.ACCOUNT_CONTAINER_COUNT),
        object_count=_number(headers, Client.ACCOUNT_OBJECT_COUNT),
        bytes_used=_number(headers, Client.ACCOUNT_BYTES_USED),
        metadata=family(headers, Client.ACCOUNT_META_PREFIX),
        sysmeta=family(headers, Sysmeta.ACCOUNT_PREFIX),
        policy_stats=_stats.decode(headers.get(Backend.POLICY_STATS) or "{}"),
        created_at=headers.get(Client.TIMESTAMP, ""),
        last_modified=headers.get(Client.LAST_MODIFIED, ""),
    )


def container_info(response: BackendResponse) -> ContainerInfo:
    headers = response.headers
    if response.status > codes.SUCCESS_MAX:
        return ContainerInfo(ABSENT if response.status == codes.NOT_FOUND else UNKNOWN)
    modified = headers.get(Client.LAST_MODIFIED, "")
    stamp = headers.get(Backend.PUT_TIMESTAMP) or headers.get(Client.TIMESTAMP)
    if stamp and not modified:
        modified = Timestamp.parse(stamp).http_date
    return ContainerInfo(
        PRESENT,
        policy_index=_number(headers, Backend.POLICY_INDEX),
        **{field: headers.get(name) for field, name in CONTAINER_OWNER_HEADERS.items()},
        object_count=_number(headers, Client.CONTAINER_OBJECT_COUNT),
        bytes_used=_number(headers, Client.CONTAINER_BYTES_USED),
        metadata=family(headers, Client.CONTAINER_META_PREFIX),
        sysmeta=family(headers, Sysmeta.CONTAINER_PREFIX),
        created_at=headers.get(Client.TIMESTAMP, ""),
        last_modified=modified,
        version_count=_number(headers, Backend.VERSION_COUNT),
    )


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "0")
    return int(text) if text.isdecimal() else 0
