"""Bugs to be planted in what becomes of the parts of uploads."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace as changed

from objstore.container import parts
from tests.simulation.planting import Mutant, replace


def parts_are_reclaimed_while_named() -> None:
    """Parts of an upload that has ended are deleted, whatever object names them."""
    real = parts.UploadParts.standing

    def standing(self: Any, *asked: Any) -> Any:
        found = real(self, *asked)
        return None if found is None else changed(found, manifests=())

    replace("standing", standing, parts.UploadParts)


def parts_of_open_uploads_are_reclaimed() -> None:
    """An upload whose record stands counts as ended."""
    real = parts.UploadParts.standing

    def standing(self: Any, *asked: Any) -> Any:
        found = real(self, *asked)
        return None if found is None else changed(found, has_record=False)

    replace("standing", standing, parts.UploadParts)


def parts_are_left() -> None:
    """What the reclaimer is told to delete stays."""
    replace("delete", lambda *_: True, parts.UploadParts)


UPLOAD_BUGS: Final = (
    Mutant(parts_are_reclaimed_while_named, 8),
    Mutant(parts_of_open_uploads_are_reclaimed, 8),
    Mutant(parts_are_left, 8),
)
