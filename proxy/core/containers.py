"""Containers: commands, results, and the service that carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.db.listing import xml_document
from objstore.http.bodies import BytesBody
from objstore.http.messages import Body
from objstore.http.transport import BackendResponse
from objstore.paths import ResourcePath
from objstore.proxy.core.backend import databases as backend
from objstore.proxy.core.encryption.settings import is_marked
from objstore.proxy.core.errors import AccountNotFound, ContainerLimitReached, ContainerNotFound, QuorumNotReached
from objstore.proxy.core.info import ABSENT, DELETED, PRESENT, UNKNOWN, ContainerInfo
from objstore.proxy.core.listing import (
    NO_QUERY,
    RENDERED_AS_ROWS,
    RENDERED_AS_XML,
    ListedEntry,
    ListedObject,
    ListedVersion,
    ListingQuery,
    VersionsQuery,
    entries_of,
    whole,
)
from objstore.proxy.core.nodes import Placement, strict_placement
from objstore.timestamps import Timestamp
from objstore.uploads import is_hidden

if TYPE_CHECKING:
    from objstore.cluster import Cluster
    from objstore.config.proxy import AccountsConfig
    from objstore.proxy.core.accounts import AccountOperations
    from objstore.proxy.core.encryption.opening import Opening
    from objstore.proxy.core.lookup import Lookup
    from objstore.proxy.core.quorum_request import QuorumResult, Writer
    from objstore.proxy.core.reading import Reader
    from objstore.proxy.core.strong_listing import StrongContainers
    from objstore.ring.rings import Rings
    from objstore.system.clock import Clock


class GetContainer(Struct, frozen=True):
    """Read a container, and list its objects. newest: ask all nodes, and take the newest."""

    path: ResourcePath
    query: ListingQuery = NO_QUERY
    newest: bool = False
    transaction_id: str = ""


class WriteContainer(Struct, frozen=True):
    """Change a container: what is None or not named stays, what is "" goes. Names are as in ContainerInfo."""

    path: ResourcePath
    timestamp: Timestamp
    metadata: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    read_acl: str | None = None
    write_acl: str | None = None
    sync_to: str | None = None
    sync_key: str | None = None
    transaction_id: str = ""


class PutContainer(WriteContainer, frozen=True):
    """Create a container, or change it if it is there. Without an index it gets the default policy."""

    policy_index: int | None = None


class OpenedContainer(Struct, frozen=True):
    """A container and its listing, as its server has rendered it, to be read or closed."""

    info: ContainerInfo
    body: bytes | Body


class ContainerOperations:
    """Operations on containers; one for each process. Authorization is the edge's."""

    def __init__(
        self,
        cluster: Cluster,
        rings: Rings,
        reader: Reader,
        writer: Writer,
        lookup: Lookup,
        accounts: AccountOperations,
        config: AccountsConfig,
        strong: StrongContainers,
        opening: Opening,
    ) -> None:
        self._cluster: Final = cluster
        self._strong: Final = strong
        self._opening: Final = opening
        self._encrypting: Final = frozenset(policy.index for policy in cluster.policies if policy.encrypted)
        self._strong_policies: Final = frozenset(each.index for each in cluster.policies if each.is_strong)
        self._rings: Final = rings
        self._reader: Final = reader
        self._writer: Final = writer
        self._lookup: Final = lookup
        self._accounts: Final = accounts
        self._config: Final = config

    def head(self, command: GetContainer) -> ContainerInfo:
        """The container. Raises CoreError."""
        if not self._is_strong(command):
            info = self._read(command, "HEAD", "")[0]
            if info.policy_index not in self._strong_policies:
                return info
        return self._strong.head(*self._asked(command))

    def open(self, command: GetContainer, rendering: str = RENDERED_AS_ROWS) -> OpenedContainer:
        """The container and its listing. Raises CoreError."""
        opened = self._open(command, rendering)
        info = opened.info
        if not (is_marked(info) or info.policy_index in self._encrypting or is_hidden(command.path)):
            return opened
        if rendering == RENDERED_AS_XML:
            if not isinstance(opened.body, bytes):
                opened.body.close()
            rows = whole(self.open(command).body)
            return OpenedContainer(info, xml_document(rows, "container", command.path.container, "object"))
        if rendering != RENDERED_AS_ROWS:
            return opened
        return OpenedContainer(info, self._opening.listing(command.path, whole(opened.body)))

    def _open(self, command: GetContainer, rendering: str) -> OpenedContainer:
        if not self._is_strong(command):
            info, found = self._read(command, "GET", backend.listing_query(command.query, rendering))
            if info.policy_index not in self._strong_policies:
                return OpenedContainer(info, found.body.read() if isinstance(found.body, BytesBody) else found.body)
            found.close()
        return OpenedContainer(*self._strong.open(*self._asked(command), command.query, rendering))

    def list(self, command: GetContainer) -> list[ListedEntry]:
        """The objects or, to a VersionsQuery, all their versions. Raises CoreError."""
        kind = ListedVersion if isinstance(command.query, VersionsQuery) else ListedObject
        return entries_of(whole(self.open(command).body), kind)

    def put(self, command: PutContainer) -> bool:
        """Whether the container is new. Makes its account if accounts are made on demand. Raises CoreError."""
        self._ensure_account(command)
        # Servers that were slow to make the account just now, or lost it, make it when they are told of the container.
        default = self._cluster.policies.default.index
        new = backend.new_container_headers(command, default, self._config.account_autocreate)
        index = default if command.policy_index is None else command.policy_index
        is_strict = index in self._strong_policies
        return self._check(command, self._write("PUT", command, new, informs_account=True, is_strict=is_strict))

    def post(self, command: WriteContainer) -> None:
        """Change the container's metadata. Raises CoreError."""
        self._require_account(command)
        self._check(command, self._write("POST", command, {}, informs_account=False))

    def delete(self, command: WriteContainer) -> None:
        """Delete an empty container. Raises CoreError."""
        self._require_account(command)
        self._check(command, self._write("DELETE", command, {}, informs_account=True))

    def _check(self, command: WriteContainer, result: QuorumResult) -> bool:
        """Whether the write has made the container anew. Raises CoreError."""
        return backend.container_outcome(command.path, result, self._cluster.limits)

    def _is_strong(self, command: GetContainer) -> bool:
        """Whether the container's policy is strong, as far as that is remembered."""
        if not self._strong_policies:
            return False
        info = self._lookup.container(command.path, command.transaction_id)
        return info.existence is PRESENT and info.policy_index in self._strong_policies

    def _asked(self, command: GetContainer) -> tuple[Placement, dict[str, str]]:
        placement = Placement.of(command.path, self._rings.container, self._cluster.hasher)
        return placement, backend.read_headers(command.path, command.transaction_id)

    def _read(self, command: GetContainer, method: str, query: str) -> tuple[ContainerInfo, BackendResponse]:
        placement, headers = self._asked(command)
        found = self._reader.read(method, placement, headers, query, newest=command.newest)
        info = backend.container_info(found)
        if info.existence is not PRESENT:
            found.close()
            raise QuorumNotReached(command.path) if info.existence is UNKNOWN else ContainerNotFound(command.path)
        return info, found

    def _write(
        self,
        method: str,
        command: WriteContainer,
        more: dict[str, str],
        *,
        informs_account: bool,
        is_strict: bool = False,
    ) -> QuorumResult:
        """`is_strict`: a majority of the container's own servers counts, and nobody in their place."""
        hasher, path = self._cluster.hasher, command.path
        placement = Placement.of(path, self._rings.container, hasher)
        if is_strict:
            placement = strict_placement(placement)
        account = Placement.of(ResourcePath(path.account), self._rings.account, hasher) if informs_account else None
        headers = backend.write_container_headers(command, placement, account)
        for each in headers:
            each.update(more)
        result = self._writer.send(method, placement, headers)
        self._lookup.forget_container(path)
        if informs_account:
            self._lookup.forget_account(path.account)
        return result

    def _ensure_account(self, command: PutContainer) -> None:
        """The account is there, or is made now. Raises CoreError."""
        config, name, transaction_id = self._config, command.path.account, command.transaction_id
        info = self._lookup.account(name, transaction_id)
        on_demand = config.account_autocreate or self._cluster.limits.is_internal_account(name)
        if info.existence is ABSENT and on_demand:
            self._accounts.create(name, transaction_id)
        elif info.existence is UNKNOWN:
            raise QuorumNotReached(command.path)
        elif info.existence is not PRESENT:
            raise AccountNotFound(ResourcePath(name))
        limit = config.max_containers_per_account
        full = limit and info.container_count >= limit and name not in config.max_containers_whitelist
        if full and self._lookup.container(command.path, transaction_id).existence is not PRESENT:
            raise ContainerLimitReached(limit)

    def _require_account(self, command: WriteContainer) -> None:
        name = command.path.account
        if self._cluster.limits.is_internal_account(name):
            return
        if self._lookup.account(name, command.transaction_id).existence in (ABSENT, DELETED):
            raise AccountNotFound(ResourcePath(name))


def made_on_demand(
    path: ResourcePath,
    lookup: Lookup,
    containers: ContainerOperations,
    clock: Clock,
    transaction_id: str,
    policy_index: int | None = None,
) -> int:
    """The policy of a container of the store's own, which is made, with this policy, if it is not there.

    Raises CoreError.
    """
    info = lookup.container(path, transaction_id)
    if info.existence is ABSENT:
        command = PutContainer(path, clock.timestamp(), policy_index=policy_index, transaction_id=transaction_id)
        containers.put(command)
        info = lookup.container(path, transaction_id)
    if info.existence is not PRESENT:
        raise QuorumNotReached(path)
    return info.policy_index
