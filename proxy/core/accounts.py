"""Accounts: commands, results, and the service that carries them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.http.bodies import BytesBody
from objstore.http.messages import Body
from objstore.http.transport import BackendResponse
from objstore.limits import check_path
from objstore.paths import ResourcePath
from objstore.proxy.core.backend import databases as backend
from objstore.proxy.core.errors import AccountDeleted, AccountNotFound, QuorumNotReached
from objstore.proxy.core.info import ABSENT, DELETED, PRESENT, AccountInfo
from objstore.proxy.core.listing import (
    NO_QUERY,
    RENDERED_AS_ROWS,
    ListedContainer,
    ListedEntry,
    ListingQuery,
    entries_of,
    whole,
)
from objstore.proxy.core.nodes import Placement
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.cluster import Cluster
    from objstore.config.proxy import AccountsConfig
    from objstore.proxy.core.lookup import Lookup
    from objstore.proxy.core.quorum_request import QuorumResult, Writer
    from objstore.proxy.core.reading import Reader
    from objstore.ring.rings import Rings
    from objstore.system.clock import Clock


class GetAccount(Struct, frozen=True):
    """Read an account, and list its containers. newest: ask all nodes, and take the newest."""

    path: ResourcePath
    query: ListingQuery = NO_QUERY
    newest: bool = False
    transaction_id: str = ""


class WriteAccount(Struct, frozen=True):
    """Change an account: what is not named stays, what is "" goes. Names are as in AccountInfo."""

    path: ResourcePath
    timestamp: Timestamp
    metadata: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    transaction_id: str = ""


class OpenedAccount(Struct, frozen=True):
    """An account and its listing, as its server has rendered it, to be read or closed.

    `body` is None for an account that is not made yet, where accounts are made on demand: it lists nothing.
    """

    info: AccountInfo
    body: bytes | Body | None


class AccountOperations:
    """Operations on accounts; one for each process. Authorization is the edge's."""

    def __init__(
        self,
        cluster: Cluster,
        rings: Rings,
        reader: Reader,
        writer: Writer,
        lookup: Lookup,
        config: AccountsConfig,
        clock: Clock,
    ) -> None:
        self._cluster: Final = cluster
        self._rings: Final = rings
        self._reader: Final = reader
        self._writer: Final = writer
        self._lookup: Final = lookup
        self._config: Final = config
        self._clock: Final = clock

    def head(self, command: GetAccount) -> AccountInfo:
        """The account; one that is not made yet looks empty if accounts are made on demand. Raises CoreError."""
        return self._read(command, "HEAD", "")[0]

    def open(self, command: GetAccount, rendering: str = RENDERED_AS_ROWS) -> OpenedAccount:
        """The account and its listing. Raises CoreError."""
        info, found = self._read(command, "GET", backend.listing_query(command.query, rendering))
        if found is None:
            return OpenedAccount(info, None)
        return OpenedAccount(info, found.body.read() if isinstance(found.body, BytesBody) else found.body)

    def list(self, command: GetAccount) -> list[ListedEntry]:
        """The containers. Raises CoreError."""
        body = self.open(command).body
        return [] if body is None else entries_of(whole(body), ListedContainer)

    def put(self, command: WriteAccount) -> bool:
        """Whether the account is new. Raises CoreError."""
        return self._check(command, self._write("PUT", command))

    def post(self, command: WriteAccount) -> None:
        """Change the account's metadata; makes the account if accounts are made on demand. Raises CoreError."""
        result = self._write("POST", command)
        try:
            self._check(command, result)
        except AccountNotFound:
            if not self._config.account_autocreate:
                raise
            self.create(command.path.account, command.transaction_id)
            self._check(command, self._write("POST", command))

    def delete(self, command: WriteAccount) -> None:
        """Delete the account; what it holds is left to be reaped. Raises CoreError."""
        self._check(command, self._write("DELETE", command))

    def create(self, account: str, transaction_id: str) -> None:
        """Make an account on demand. Raises CoreError, and what `check_path` raises."""
        path = ResourcePath(account)
        check_path(self._cluster.limits, path)
        self.put(WriteAccount(path, self._clock.timestamp(), transaction_id=transaction_id))

    def _check(self, command: WriteAccount, result: QuorumResult) -> bool:
        """Whether the write has made the account anew. Raises CoreError."""
        return backend.account_outcome(command.path, result, self._cluster.limits)

    def _read(self, command: GetAccount, method: str, query: str) -> tuple[AccountInfo, BackendResponse | None]:
        placement = Placement.of(command.path, self._rings.account, self._cluster.hasher)
        headers = backend.read_headers(command.path, command.transaction_id)
        found = self._reader.read(method, placement, headers, query, newest=command.newest)
        info = backend.account_info(found)
        if info.existence is PRESENT:
            return info, found
        found.close()
        if info.existence is DELETED:
            raise AccountDeleted(command.path)
        if info.existence is not ABSENT:
            raise QuorumNotReached(command.path)
        if not self._config.account_autocreate:
            raise AccountNotFound(command.path)
        return AccountInfo(PRESENT, created_at=self._clock.timestamp().normal), None

    def _write(self, method: str, command: WriteAccount) -> QuorumResult:
        placement = Placement.of(command.path, self._rings.account, self._cluster.hasher)
        headers = backend.write_account_headers(command)
        result = self._writer.send(method, placement, [headers] * len(placement.primaries))
        self._lookup.forget_account(command.path.account)
        return result
