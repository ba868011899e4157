"""Uploads that have lost a row, as container databases note them, and the uploads that a hidden container holds.

A transaction that replaces, deletes or removes a live row with an upload puts the upload into the table `orphan`: that
of a container when an object made of its parts gives way, that of a hidden container when its record goes. Each replica
notes what it merges itself, so as many have it as have the row; a note is no more than a reason to look.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from msgspec import Struct

from objstore.db.connection import DatabaseRemoved
from objstore.db.info import read_status
from objstore.db.schema import LISTED
from objstore.paths import ResourcePath
from objstore.uploads import PARTS_FOLDER, UploadName, name_of

ORPHANS_PER_PAGE: Final = 100


class Orphan(Struct, frozen=True, gc=False):
    """An upload, the name of the row that gave way, and when that was noticed, in the internal form."""

    upload: str
    name: str
    moment: str


class Glance(Struct, frozen=True, gc=False):
    """A container's database, as the daemon comes to it."""

    path: ResourcePath
    is_deleted: bool
    has_orphans: bool


def glance(connection: sqlite3.Connection) -> Glance:
    """Raises DatabaseRemoved."""
    found = connection.execute("SELECT account, container FROM resource").fetchone()
    if found is None:
        raise DatabaseRemoved
    noted = connection.execute("SELECT 1 FROM orphan LIMIT 1").fetchone() is not None
    return Glance(ResourcePath(*found), read_status(connection).deleted, noted)


def read_orphans(connection: sqlite3.Connection, after: str, before: str) -> list[Orphan]:
    """A page of those behind the upload `after` that were noticed before a moment, by upload."""
    found = connection.execute(
        "SELECT upload, name, moment FROM orphan WHERE upload > ? AND moment < ? ORDER BY upload LIMIT ?",
        (after, before, ORPHANS_PER_PAGE),
    )
    return [Orphan(*each) for each in found]


def forget_orphan(connection: sqlite3.Connection, orphan: Orphan) -> None:
    """Unless it has been noticed anew."""
    connection.execute("DELETE FROM orphan WHERE upload = ? AND moment = ?", (orphan.upload, orphan.moment))


def note_orphan(connection: sqlite3.Connection, orphan: Orphan) -> None:
    """Unless it has been noticed already."""
    read_status(connection)
    connection.execute(
        "INSERT OR IGNORE INTO orphan (upload, name, moment) VALUES (?, ?, ?)",
        (orphan.upload, orphan.name, orphan.moment),
    )


def next_upload(connection: sqlite3.Connection, marker: str) -> tuple[UploadName | None, str] | None:
    """The upload of the first name behind a marker, None for a name that is no upload's, and where the next may begin.

    None at the end. All parts of an upload count as one name.
    """
    found = connection.execute(
        f"SELECT name FROM row WHERE deleted = {LISTED} AND name > ? ORDER BY name LIMIT 1", (marker,)
    ).fetchone()
    if found is None:
        return None
    (stored,) = found
    name = name_of(stored)
    return name, name.behind_parts if name is not None and stored.startswith(PARTS_FOLDER) else stored
