"""Containers as an account lists them: how versions of a row merge, and how rows are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from msgspec.structs import astuple, replace

from objstore.db.schema import Key, TableSchema, Values, check_integers, check_name, checked_timestamp
from objstore.db.status import Status
from objstore.limits import RESERVED_WORD_MAX, Limits
from objstore.policies import Policies
from objstore.rows import ContainerRow
from objstore.timestamps import Timestamp


def merge_container_rows(one: ContainerRow, other: ContainerRow) -> ContainerRow:
    """Three registers: when it was put, when it was deleted, and its newest figures.

    Of two reports of one moment the greater wins: any total order lets replicas agree. Both rows are of one name
    and in stored form, and so is the result.
    """
    stats = max(one, other, key=lambda row: (row.stats_timestamp, row.policy_index, row.object_count, row.bytes_used))
    return replace(
        stats,
        put_timestamp=max(one.put_timestamp, other.put_timestamp),
        delete_timestamp=max(one.delete_timestamp, other.delete_timestamp),
    )


class AccountSchema(TableSchema[ContainerRow]):
    folder: ClassVar = "accounts"
    kind: ClassVar = "account"
    listed_as: ClassVar = "container"
    columns: ClassVar = {
        "put_timestamp": "TEXT NOT NULL",
        "delete_timestamp": "TEXT NOT NULL",
        "object_count": "INTEGER NOT NULL",
        "bytes_used": "INTEGER NOT NULL",
        "policy_index": "INTEGER NOT NULL",
        "stats_timestamp": "TEXT NOT NULL",
        "last_modified": "TEXT NOT NULL",
    }
    key: ClassVar[tuple[str, ...]] = ()
    # Containers whose names begin with NUL are the store's own: what is uploaded in parts lies there. Users neither see
    # these containers nor the objects in them; the bytes are theirs all the same, and count.
    totals: ClassVar = ("container_count", "object_count", "bytes_used", "hidden_count")
    sums: ClassVar = (
        "count(*)",
        "coalesce(sum(CASE WHEN name < char(1) THEN 0 ELSE object_count END), 0)",
        "coalesce(sum(bytes_used), 0)",
        "coalesce(sum(name < char(1)), 0)",
    )
    more_tables: ClassVar = ""
    moments: ClassVar = ("put_timestamp", "delete_timestamp", "stats_timestamp")
    row_type = ContainerRow

    def __init__(self, limits: Limits, policies: Policies) -> None:
        self._name_length_max = limits.max_container_name_length + RESERVED_WORD_MAX
        # Names of policies hold letters, digits and dashes only, so they may stand in SQL.
        names = " ".join(f"WHEN {policy.index} THEN '{policy.name}'" for policy in policies)
        self.json_row = (
            "json_object('name', name, 'count', object_count, 'bytes', bytes_used, 'last_modified', last_modified,"
            f" 'storage_policy', CASE policy_index {names} ELSE '' END)"
        )

    def checked(self, row: ContainerRow) -> ContainerRow:
        """A timestamp of "0" becomes one that compares with others."""
        check_name(row.name, self._name_length_max)
        check_integers(row.object_count, row.bytes_used, row.policy_index)
        return replace(row, **{name: checked_timestamp(getattr(row, name)) for name in self.moments})

    def key_of(self, row: ContainerRow) -> Key:
        return (row.name,)

    def merge(self, one: ContainerRow, other: ContainerRow) -> ContainerRow:
        return merge_container_rows(one, other)

    def is_deleted(self, row: ContainerRow) -> bool:
        """Deleted after it was put, and empty: as the container itself decides it."""
        return row.delete_timestamp > row.put_timestamp and row.object_count == 0

    def amounts(self, row: ContainerRow, is_listed: bool) -> tuple[int, ...]:
        """One container, the numbers of its objects and bytes, and one hidden container if it is the store's own."""
        if row.name[0] == "\0":
            return 1, 0, row.bytes_used, 1
        return 1, row.object_count, row.bytes_used, 0

    def policy_of(self, row: ContainerRow) -> int:
        return row.policy_index

    def values(self, row: ContainerRow) -> Values:
        _, *values = astuple(row)
        return (*values, Timestamp.parse(row.put_timestamp).isoformat)

    def row(self, name: str, deleted: bool, values: Sequence[Any]) -> ContainerRow:
        return ContainerRow(name, *values[:-1])

    def is_gone(self, status: Status, row_count: int) -> bool:
        """A deleted account is gone at once; the reaper deletes its containers later."""
        return status.deleted
