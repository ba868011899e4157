"""Marks on a device: whose figures have changed since their account was told.

A mark is an empty file DEVICE/container_reports/PARTITION-HASH. It spares the updater a look into every database, and
is no more than that: what was last reported stands in the database itself, and a sweep of all of them finds those
whose mark was lost in a crash.
"""

from __future__ import annotations

import os
from typing import Final

from objstore.db.location import Place
from objstore.system import files

FOLDER: Final = "container_reports"


def _mark_of(place: Place) -> str:
    return f"{place.root}/{FOLDER}/{place.partition}-{place.hash}"


def mark(place: Place) -> None:
    """Leave a mark, after the change is committed. Raises OSError."""
    path = _mark_of(place)
    if os.path.exists(path):
        return
    files.make_directories(os.path.dirname(path))
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, files.FILE_MODE))


def unmark(place: Place) -> None:
    """Remove the mark, before the figures are read: a later change then leaves a new one."""
    files.unlink_quietly(_mark_of(place))


def marked(root: str, folder: str) -> list[Place]:
    """The databases marked on a device. Blocks; raises OSError."""
    places = []
    for name in files.list_directory(f"{root}/{FOLDER}"):
        partition, dash, digest = name.partition("-")
        if dash and partition.isdecimal():
            places.append(Place(root, folder, partition, digest))
    return places
