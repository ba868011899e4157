"""COMMIT: telling the devices that have a fragment that enough others have theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from objstore.devices import Device
from objstore.proxy.core.backend.fragments import COMMIT, commit_headers
from objstore.proxy.core.fragments.weighing import PendingWrite
from objstore.proxy.core.nodes import Placement
from objstore.proxy.core.quorum_request import Writer
from objstore.system import concurrency
from objstore.timestamps import Timestamp

# So many commits of acknowledged writes are under way; beyond this a writer waits for its own.
COMMITS_MAX: Final = 256


class Committer:
    """Commits the writes of one process. What is not committed is, by the next reader or by the rebuilder."""

    def __init__(self, writer: Writer) -> None:
        self._writer: Final = writer
        self._under_way = 0

    def later(
        self, placement: Placement, nodes: Sequence[Device], headers: Mapping[str, str], pending: PendingWrite
    ) -> None:
        """Commit a write that is about to be acknowledged, without waiting for it."""
        if self._under_way >= COMMITS_MAX:
            self.commit(placement, nodes, headers, pending)
        else:
            self._under_way += 1
            concurrency.spawn(self._commit_later, placement, nodes, headers, pending)

    def _commit_later(
        self, placement: Placement, nodes: Sequence[Device], headers: Mapping[str, str], pending: PendingWrite
    ) -> None:
        try:
            self.commit(placement, nodes, headers, pending)
        finally:
            self._under_way -= 1

    def commit(
        self,
        placement: Placement,
        nodes: Sequence[Device],
        headers: Mapping[str, str],
        pending: PendingWrite,
        agreed: Timestamp | None = None,
    ) -> None:
        """Commit a write on these nodes, as far as they answer; `headers` are those of a request about the object.

        agreed: the stamp that was prepared by the write on whose way this is.
        """
        asked = replace(placement, primaries=tuple(nodes), quorum=len(nodes), strict=True)
        sent = commit_headers(headers, pending.timestamp, pending.version, agreed)
        self._writer.send(COMMIT, asked, [sent] * len(nodes))
