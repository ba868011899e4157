"""The schema of one kind of database, container or account; checks and digests of rows."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec
import xxhash
from msgspec import Struct

from objstore.db.status import NEVER, Status
from objstore.http.errors import HttpError

Row = TypeVar("Row", bound=Struct)
Key = tuple[Any, ...]  # a name, and the values of the columns that identify a row besides it
Values = tuple[Any, ...]
LISTED: Final = 0  # the classes of rows
TOMBSTONE: Final = 1
HIDDEN: Final = 2


class TableSchema(ABC, Generic[Row]):
    """One kind of database: a resource (a container, an account) and a row for each thing it lists.

    The table `row` has the columns `deleted`, `name`, `sequence` and those of `columns`. It is clustered by
    (deleted, name, ...`key`), where `deleted` is the row's class: 0 for what is listed, in the order of listings; 1 for
    tombstones; 2 for live rows that a newer one of their name hides, and for delete markers. Which of a name's live
    rows is listed is decided in each database from the rows that it has (`rows.RowTable`), never sent.
    """

    folder: ClassVar[str]  # of a device
    kind: ClassVar[str]  # "container" or "account", as it stands in XML and messages
    columns: ClassVar[Mapping[str, str]]  # name -> declaration in SQL, besides deleted, name and sequence
    key: ClassVar[tuple[str, ...]]  # columns that identify a row besides its name
    totals: ClassVar[tuple[str, ...]]  # what is summed over the live rows of each policy; the first counts rows
    sums: ClassVar[tuple[str, ...]]  # SQL expressions: what each of `totals` must be
    more_tables: ClassVar[str]  # SQL that makes and fills what only this kind has
    tables_of_4: ClassVar[str] = ""  # one statement of SQL: what format 4 brought to this kind
    forgotten: ClassVar[str] = "SELECT 1"  # SQL that resets in a peer's copy what only that peer has done
    listed_as: ClassVar[str]  # the XML element of a row
    moments: ClassVar[tuple[str, ...]]  # columns, and attributes of a row: the newest says when it last changed
    row_type: type[Row]
    json_row: str  # SQL expression: the JSON text of a row as listed

    @abstractmethod
    def checked(self, row: Row) -> Row:
        """A row as it arrived, brought into the form in which it is stored; raises HttpError 400."""

    @abstractmethod
    def key_of(self, row: Row) -> Key:
        """The row's key, its name and the values of `key`: rows with equal keys are states of one thing."""

    @abstractmethod
    def merge(self, one: Row, other: Row) -> Row:
        """Two versions of a row as one: commutative, associative and idempotent, so that replicas converge."""

    @abstractmethod
    def is_deleted(self, row: Row) -> bool:
        """Whether it is a tombstone: kept, neither listed nor counted."""

    def is_kept(self, row: Row) -> bool:
        """Whether it is a version that newer ones of its name hide, or a delete marker."""
        return False

    def upload_of(self, row: Row) -> str:
        """The multipart upload whose parts a row names, "" for none: once it gives way they may belong to nobody."""
        return ""

    def is_old_tombstone(self, row: Row, moment: str) -> bool:
        """Whether it is one from before this moment."""
        return self.is_deleted(row) and max(getattr(row, each) for each in self.moments) < moment

    @abstractmethod
    def amounts(self, row: Row, is_listed: bool) -> tuple[int, ...]:
        """The amounts that a live row adds to `totals`."""

    @abstractmethod
    def policy_of(self, row: Row) -> int:
        """The policy under which it is counted."""

    @abstractmethod
    def values(self, row: Row) -> Values:
        """The values of `columns`, in their order."""

    @abstractmethod
    def row(self, name: str, deleted: bool, values: Sequence[Any]) -> Row:
        """The inverse of `values`."""

    @abstractmethod
    def is_gone(self, status: Status, row_count: int) -> bool:
        """Whether the resource is answered for as deleted; `row_count` is that of live rows."""


_encode: Final = msgspec.json.Encoder().encode


def row_digest(row: Row) -> int:
    """64 bits of a row in its stored form, as a signed integer, which is what SQLite stores.

    The digest of a set of rows is the exclusive or of those of its rows: it follows each change at once, and the
    order of the changes is nothing.
    """
    digest = xxhash.xxh3_64_intdigest(_encode(row))
    return digest if digest < 1 << 63 else digest - (1 << 64)


def rows_digest(rows: Iterable[Row]) -> int:
    digest = 0
    for row in rows:
        digest ^= row_digest(row)
    return digest


def items_digest(items: Iterable[tuple[str, str, str]]) -> str:
    """The digest of metadata: names, values and timestamps, in the order of the names."""
    return xxhash.xxh3_64_hexdigest(_encode(list(items)))


# The internal form, exactly: stored timestamps are compared as text.
_TIMESTAMP: Final = re.compile(r"[0-9]{10}\.[0-9]{5}(?:_[0-9a-f]{16})?", re.ASCII).fullmatch
INTEGER_MAX: Final = 2**63 - 1  # what SQLite stores


def checked_timestamp(text: str) -> str:
    """A timestamp in its internal form, "0" for never. Raises HttpError 400."""
    if _TIMESTAMP(text):
        return text
    if text == "0":
        return NEVER
    raise HttpError(400, f"Bad timestamp {text[:40]!r}")


def check_integers(*numbers: int) -> None:
    """Raises HttpError 400 if one is negative or too large to be stored."""
    for number in numbers:
        if not 0 <= number <= INTEGER_MAX:
            raise HttpError(400, "Bad number in a row")


def check_name(name: str, length_max: int) -> None:
    """Raises HttpError 400 if a name is empty or too long in UTF-8.

    Whether a reserved name is allowed was decided where its object or container was written.
    """
    if not name or (len(name) * 4 > length_max and len(name.encode()) > length_max):
        raise HttpError(400, f"A row's name must have 1 to {length_max} bytes")
