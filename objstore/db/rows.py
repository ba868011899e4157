"""Merging rows into a database: what is there is read, merged, and written back in one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final, Generic

from objstore.db.description import Description, Key, Row
from objstore.db.digests import row_digest

# Names are looked up so many at a time; a batch is filled up to a power of two, so that few statements are prepared.
LOOKUP_NAMES_MAX: Final = 64
# SQLite has no exclusive or: the bits of either less those of both.
CHANGE: Final = """
UPDATE resource SET sequence = sequence + ?1,
live_digest = (live_digest | ?2) - (live_digest & ?2),
tombstone_digest = (tombstone_digest | ?3) - (tombstone_digest & ?3)
RETURNING sequence
"""


class RowTable(Generic[Row]):
    """The tables `row` and `policy_stat` of one kind of database. Its methods run inside a transaction."""

    def __init__(self, description: Description[Row]) -> None:
        self._description = description
        columns = list(description.columns)
        key = ("deleted", "name", *description.key)
        marks = ", ".join("?" * (len(columns) + 3))
        self._columns = ", ".join(("name", "deleted", *columns))
        self._insert = f"INSERT OR REPLACE INTO row (name, deleted, sequence, {', '.join(columns)}) VALUES ({marks})"
        self._delete = f"DELETE FROM row WHERE {' AND '.join(f'{column} = ?' for column in key)}"
        sums = ", ".join(f"{total} = {total} + excluded.{total}" for total in description.totals)
        marks = ", ".join("?" * (len(description.totals) + 1))
        self._count = (
            f"INSERT INTO policy_stat (policy_index, {', '.join(description.totals)}) VALUES ({marks})"
            f" ON CONFLICT (policy_index) DO UPDATE SET {sums}"
        )

    def merge(self, connection: sqlite3.Connection, rows: Iterable[Row], forgotten_before: str = "") -> bool:
        """Merge rows into what is stored; says whether any total changed. On `forgotten_before` see Batch."""
        description = self._description
        incoming: dict[Key, Row] = {}
        for row in rows:
            key = description.key_of(row)
            earlier = incoming.get(key)
            incoming[key] = row if earlier is None else description.merge(earlier, row)
        stored = self.find(connection, list({name for name, _ in incoming}))
        changed = []
        for key, row in incoming.items():
            old = stored.get(key)
            if forgotten_before and old is None and description.is_old_tombstone(row, forgotten_before):
                continue
            new = row if old is None else description.merge(old, row)
            if new != old:
                changed.append((old, new))
        if not changed:
            return False
        self._write(connection, changed)
        return self._recount(connection, changed)

    def find(self, connection: sqlite3.Connection, names: Sequence[str]) -> dict[Key, Row]:
        """All versions of all rows of these names, tombstones too."""
        found: dict[Key, Row] = {}
        make, key_of = self._description.row, self._description.key_of
        for start in range(0, len(names), LOOKUP_NAMES_MAX):
            part = list(names[start : start + LOOKUP_NAMES_MAX])
            size = 1 << (len(part) - 1).bit_length()
            part += part[:1] * (size - len(part))
            statement = f"SELECT {self._columns} FROM row WHERE deleted IN (0, 1) AND name IN ({', '.join('?' * size)})"
            for name, deleted, *values in connection.execute(statement, part):
                row = make(name, bool(deleted), values)
                found[key_of(row)] = row
        return found

    def _write(self, connection: sqlite3.Connection, changed: Sequence[tuple[Row | None, Row]]) -> None:
        description = self._description
        is_deleted, values, key_of = description.is_deleted, description.values, description.key_of
        (last,) = connection.execute(CHANGE, (len(changed), *self._digests(changed))).fetchone()
        sequence: int = last - len(changed)
        inserts: list[tuple[Any, ...]] = []
        deletes: list[tuple[Any, ...]] = []
        for old, new in changed:
            sequence += 1
            name, number = key_of(new)
            deleted = is_deleted(new)
            inserts.append((name, deleted, sequence, *values(new)))
            # Live rows and tombstones lie apart: one that changes sides leaves its old place.
            if old is not None and (was_deleted := is_deleted(old)) != deleted:
                deletes.append((was_deleted, name, number) if description.key else (was_deleted, name))
        if deletes:
            connection.executemany(self._delete, deletes)
        connection.executemany(self._insert, inserts)

    def _digests(self, changed: Sequence[tuple[Row | None, Row]]) -> tuple[int, int]:
        """What goes into the digests of the live rows and of the tombstones, and out of them."""
        digests = [0, 0]
        for pair in changed:
            for row in pair:
                if row is not None:
                    digests[self._description.is_deleted(row)] ^= row_digest(row)
        return digests[0], digests[1]

    def _recount(self, connection: sqlite3.Connection, changed: Sequence[tuple[Row | None, Row]]) -> bool:
        description = self._description
        deltas: dict[int, list[int]] = {}
        for old, new in changed:
            for row, sign in ((old, -1), (new, 1)):
                if row is None:
                    continue
                # A policy of which there are tombstones only is counted too, with zeros: see `misplaced_rows`.
                delta = deltas.setdefault(description.policy_of(row), [0] * len(description.totals))
                if not description.is_deleted(row):
                    for position, amount in enumerate(description.amounts(row)):
                        delta[position] += sign * amount
        connection.executemany(self._count, [(policy, *delta) for policy, delta in deltas.items()])
        return any(any(delta) for delta in deltas.values())
