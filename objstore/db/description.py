"""What differs between the databases of containers and those of accounts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from msgspec import Struct

from objstore.db.status import Status

Row = TypeVar("Row", bound=Struct)
Key = tuple[str, int]
Values = tuple[Any, ...]


class Description(ABC, Generic[Row]):
    """One kind of database: a resource (a container, an account) and a row for each thing it lists.

    The table `row` has the columns `deleted`, `name`, `sequence` and those of `columns`. It is clustered by
    (deleted, name, ...`key`): live rows lie together in the order of listings, tombstones apart.
    """

    folder: ClassVar[str]  # of a device
    kind: ClassVar[str]  # "container" or "account", as it stands in XML and messages
    columns: ClassVar[Mapping[str, str]]  # name -> declaration in SQL, besides deleted, name and sequence
    key: ClassVar[tuple[str, ...]]  # columns that identify a row besides its name
    totals: ClassVar[tuple[str, ...]]  # what is summed over the live rows of each policy; the first counts rows
    sums: ClassVar[tuple[str, ...]]  # SQL expressions: what each of `totals` must be
    more_tables: ClassVar[str]  # SQL that makes and fills what only this kind has
    listed_as: ClassVar[str]  # the XML element of a row
    moments: ClassVar[tuple[str, ...]]  # columns, and attributes of a row: the newest says when it last changed
    row_type: type[Row]
    json_row: str  # SQL expression: the JSON text of a row as listed

    @abstractmethod
    def checked(self, row: Row) -> Row:
        """A row as it arrived, brought into the form in which it is stored; raises HttpError 400."""

    @abstractmethod
    def key_of(self, row: Row) -> Key:
        """Its name and a number: rows with the same key are versions of one thing."""

    @abstractmethod
    def merge(self, one: Row, other: Row) -> Row:
        """What both amount to: commutative, associative and idempotent, so that replicas converge."""

    @abstractmethod
    def is_deleted(self, row: Row) -> bool:
        """Whether it is a tombstone: kept, neither listed nor counted."""

    def is_old_tombstone(self, row: Row, moment: str) -> bool:
        """Whether it is one from before this moment."""
        return self.is_deleted(row) and max(getattr(row, each) for each in self.moments) < moment

    @abstractmethod
    def amounts(self, row: Row) -> tuple[int, ...]:
        """What a live row adds to each of `totals`."""

    @abstractmethod
    def policy_of(self, row: Row) -> int:
        """The policy under which it is counted."""

    @abstractmethod
    def values(self, row: Row) -> Values:
        """What is stored in `columns`, in their order."""

    @abstractmethod
    def row(self, name: str, deleted: bool, values: Sequence[Any]) -> Row:
        """The inverse of `values`."""

    @abstractmethod
    def is_gone(self, status: Status, row_count: int) -> bool:
        """Whether the resource is answered for as deleted; `row_count` is that of live rows."""
