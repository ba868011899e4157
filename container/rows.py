"""Objects as a container lists them: how versions of a row merge, and how rows are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from objstore.db.schema import HIDDEN, Key, TableSchema, Values, check_integers, check_name, checked_timestamp
from objstore.db.status import NEVER, Status
from objstore.limits import Limits
from objstore.rows import ETAG_LENGTH, ObjectRow, merge_object_rows, newest_of
from objstore.timestamps import Timestamp

_LISTED_SIZE: Final = ";swift_bytes="
_LISTED: Final = (
    "json_object('name', name, 'hash', {hash}, 'bytes', coalesce(listed_size, size),"
    " 'content_type', content_type, 'last_modified', last_modified)"
)
# An entry of a queue is named after the whole path of an object, with moments and an index before it.
_ENTRY_PREFIX_MAX: Final = 200


def split_listed_size(content_type: str) -> tuple[str, int | None]:
    """The content type as listed, and the size to list instead of the stored object's own, if it carries one.

    A manifest's row brings the size of the large object as the parameter `swift_bytes` at the end of its type.
    """
    if _LISTED_SIZE not in content_type:
        return content_type, None
    listed, _, size = content_type.rpartition(_LISTED_SIZE)
    if not (size.isascii() and size.isdecimal() and len(size) <= 18):
        return content_type, None
    return listed, int(size)


class ContainerSchema(TableSchema[ObjectRow]):
    folder: ClassVar = "containers"
    kind: ClassVar = "container"
    listed_as: ClassVar = "object"
    columns: ClassVar = {
        "policy_index": "INTEGER NOT NULL",
        "timestamp": "TEXT NOT NULL",
        "content_type_timestamp": "TEXT NOT NULL",
        "meta_timestamp": "TEXT NOT NULL",
        "size": "INTEGER NOT NULL",
        "content_type": "TEXT NOT NULL",
        "etag": "TEXT NOT NULL",
        "listed_size": "INTEGER",
        "last_modified": "TEXT NOT NULL",
        "version": "TEXT NOT NULL",
        "marker": "INTEGER NOT NULL",
        "upload": "TEXT NOT NULL",
    }
    key: ClassVar = ("policy_index", "version")
    # Versions and delete markers count as rows, and are bytes; `version_count` tells how many are not listed.
    totals: ClassVar = ("row_count", "bytes_used", "version_count")
    sums: ClassVar = ("count(*)", "coalesce(sum(size), 0)", f"coalesce(sum(deleted = {HIDDEN}), 0)")
    # The last report to the account (`reports`). A container that was never reported differs from every report.
    more_tables: ClassVar = f"""
        CREATE TABLE report (
            put_timestamp TEXT NOT NULL,
            delete_timestamp TEXT NOT NULL,
            object_count INTEGER NOT NULL,
            bytes_used INTEGER NOT NULL,
            policy_index INTEGER NOT NULL
        );
        INSERT INTO report VALUES ('{NEVER}', '{NEVER}', 0, 0, 0);
    """
    # Uploads whose rows have given way to others: the name of the row, and when that was noticed here (`reclaimer`).
    tables_of_4: ClassVar = """
        CREATE TABLE orphan (
            upload TEXT NOT NULL PRIMARY KEY,
            name TEXT NOT NULL,
            moment TEXT NOT NULL
        ) WITHOUT ROWID;
    """
    # What the peer reported says nothing about what this replica, perhaps with older rows, told the account last.
    forgotten: ClassVar = f"UPDATE report SET put_timestamp = '{NEVER}', delete_timestamp = '{NEVER}'"
    moments: ClassVar = ("timestamp", "content_type_timestamp", "meta_timestamp")
    row_type = ObjectRow
    # Fields that an ETag brings (`etag_with_fields`) are listed beside the others.
    json_row = (
        f"CASE WHEN length(etag) > {ETAG_LENGTH} AND substr(etag, {ETAG_LENGTH + 1}, 2) = ';{{'"
        f" AND json_valid(substr(etag, {ETAG_LENGTH + 2}))"
        f" THEN json_patch({_LISTED.format(hash=f'substr(etag, 1, {ETAG_LENGTH})')}, substr(etag, {ETAG_LENGTH + 2}))"
        f" ELSE {_LISTED.format(hash='etag')} END"
    )

    def __init__(self, limits: Limits) -> None:
        whole = limits.max_account_name_length + limits.max_container_name_length + limits.max_object_name_length
        self._name_length_max = whole + _ENTRY_PREFIX_MAX

    def checked(self, row: ObjectRow) -> ObjectRow:
        """Empty timestamps, or ones older than the data's, come to mean the data's."""
        check_name(row.name, self._name_length_max)
        check_integers(row.size, row.policy_index)
        timestamp = checked_timestamp(row.timestamp)
        if row.version:
            checked_timestamp(row.version)
        typed_at, meta_at = row.content_type_timestamp, row.meta_timestamp
        if not typed_at and not meta_at:
            return row
        if (typed_at and checked_timestamp(typed_at) <= timestamp) or (
            meta_at and checked_timestamp(meta_at) <= timestamp
        ):
            return replace(
                row,
                timestamp=timestamp,
                content_type_timestamp=typed_at if typed_at > timestamp else "",
                meta_timestamp=meta_at if meta_at > timestamp else "",
            )
        return row

    def key_of(self, row: ObjectRow) -> Key:
        """Objects of different policies are different objects, until the misplaced one is removed."""
        return row.name, row.policy_index, row.version

    def is_kept(self, row: ObjectRow) -> bool:
        return row.version != "" or row.marker

    def upload_of(self, row: ObjectRow) -> str:
        return row.upload

    def merge(self, one: ObjectRow, other: ObjectRow) -> ObjectRow:
        return merge_object_rows(one, other)

    def is_deleted(self, row: ObjectRow) -> bool:
        """Whether the newest write of the data was a deletion."""
        return row.deleted

    def amounts(self, row: ObjectRow, is_listed: bool) -> tuple[int, ...]:
        """One row, the number of its bytes, and one version if it is not listed."""
        return 1, row.size, 0 if is_listed else 1

    def policy_of(self, row: ObjectRow) -> int:
        """The policy the object was written to."""
        return row.policy_index

    def values(self, row: ObjectRow) -> Values:
        """The values of `columns`, in their order. Only live rows are listed, so only they need the time as text."""
        content_type, listed_size = split_listed_size(row.content_type)
        return (
            row.policy_index,
            row.timestamp,
            row.content_type_timestamp,
            row.meta_timestamp,
            row.size,
            content_type,
            row.etag,
            listed_size,
            "" if row.deleted else Timestamp.parse(newest_of(row)).isoformat,
            row.version,
            row.marker,
            row.upload,
        )

    def row(self, name: str, deleted: bool, values: Sequence[Any]) -> ObjectRow:
        policy_index, timestamp, typed_at, meta_at, size, content_type, etag, listed_size, _, *kept = values
        if listed_size is not None:
            content_type = f"{content_type}{_LISTED_SIZE}{listed_size}"
        version, marker, upload = kept
        return ObjectRow(
            name,
            timestamp,
            size,
            content_type,
            etag,
            deleted,
            policy_index,
            typed_at,
            meta_at,
            version,
            bool(marker),
            upload,
        )

    def is_gone(self, status: Status, row_count: int) -> bool:
        """A container in which objects turn up after its deletion is there: they must not be lost."""
        return status.deleted and row_count == 0
