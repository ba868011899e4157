"""Bugs to be planted in what keeps and removes versions of objects."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace as changed

from objstore.object import versions
from objstore.object.file_engine import writing
from objstore.object.file_engine.layout import hash_directory
from objstore.object.file_names import DataFile, Tombstone, parse_name
from objstore.object.versions import ObjectVersions
from objstore.proxy.core.objects import ObjectOperations
from tests.simulation.planting import Mutant, replace


def kept_versions_become_obsolete() -> None:
    """A version that is kept removes those before it, as in the plain line."""
    real = ObjectVersions.obsolete_with

    def obsolete_with(self: Any, name: str) -> set[str]:
        file = parse_name(name)
        if not isinstance(file, DataFile) or not file.version:
            return real(self, name)
        return real(self, name) | {each for line in self.kept if line.version < file.version for each in line.names}

    replace("obsolete_with", obsolete_with, ObjectVersions)


def restored_versions_stay_behind() -> None:
    """Of a version that is written again under its id the older copy counts."""
    real = versions._resolve_line

    def _resolve_line(version: str, files: Any) -> Any:
        datas = [file for file in files if isinstance(file, DataFile)] if version else []
        return real(version, [file for file in files if file not in datas or file is min(datas)])

    replace("_resolve_line", _resolve_line, versions)


def restored_versions_are_new_ones() -> None:
    """A version that is restored is stored under an id of its own."""
    real = ObjectOperations.copy

    def copy(self: Any, command: Any) -> Any:
        return real(self, changed(command, target=changed(command.target, version="")))

    replace("copy", copy, ObjectOperations)


def removals_go_too_far() -> None:
    """The removal of a version removes the one before it, too."""
    real = ObjectVersions.obsolete_with

    def obsolete_with(self: Any, name: str) -> set[str]:
        file = parse_name(name)
        before = [line for line in self.kept if isinstance(file, Tombstone) and line.version < file.version]
        return real(self, name) | set(before[-1].names if before else ())

    replace("obsolete_with", obsolete_with, ObjectVersions)


def removals_are_forgotten_early() -> None:
    """The mark of a removal goes as soon as it has removed the version, though another node may still have that."""
    real = writing.PendingName.make_durable

    def make_durable(self: Any) -> None:
        real(self)
        file = parse_name(self._name)
        if isinstance(file, Tombstone) and file.version:
            self._disk.unlink(f"{hash_directory(self._disk.path, self._location)}/{self._name}")

    replace("make_durable", make_durable, writing.PendingName)


VERSION_BUGS: Final = (
    Mutant(kept_versions_become_obsolete, 8),
    Mutant(restored_versions_stay_behind, 8),
    Mutant(restored_versions_are_new_ones, 8),
    Mutant(removals_go_too_far, 8),
    Mutant(removals_are_forgotten_early, 8),
)
