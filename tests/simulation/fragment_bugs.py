"""Bugs to be planted in what stores, counts and reads the fragments of erasure-coded objects."""

from __future__ import annotations

from typing import Any, Final

from msgspec.structs import replace as changed

from objstore.object import fragments
from objstore.object.file_engine import writing
from objstore.object.file_engine.layout import hash_directory
from objstore.object.file_names import DataFile, parse_name
from objstore.proxy.core import objects
from objstore.proxy.core.fragments import reading, streams, weighing
from tests.simulation.planting import Mutant, replace


def fragments_are_durable_before_a_quorum() -> None:
    """A fragment gets its durable name at once, whether enough others are stored or not."""
    real = writing.FileUpload.commit
    replace("commit", lambda self, metadata, settled=True: real(self, metadata), writing.FileUpload)


def one_fragment_counts_as_two() -> None:
    """Two devices store the same fragment of a write, and count as two."""
    real = objects.fragment_placement

    def fragment_placement(placement: Any, policy: Any) -> Any:
        found = real(placement, policy)
        *_, other, last = found.primaries
        return changed(found, fragments={**found.fragments, last.id: found.fragments[other.id]})

    replace("fragment_placement", fragment_placement, objects)


def fragments_outlive_their_tombstone() -> None:
    """The tombstone of fragments goes as soon as a device's own are removed, though another one may still have its."""
    real = writing.PendingName.make_durable

    def make_durable(self: Any) -> None:
        real(self)
        if self._name.endswith(".ts") and self._location.policy.scheme.code is not None:
            self._disk.unlink(f"{hash_directory(self._disk.path, self._location)}/{self._name}")

    replace("make_durable", make_durable, writing.PendingName)


def lonely_fragments_count() -> None:
    """A write counts of which a reader hears from one device."""
    real = weighing.weigh

    def weigh(states: Any, numbers: Any, unheard: int, quorums: Any) -> Any:
        return real(states, numbers, unheard, changed(quorums, majority=1, data=1))

    replace("weigh", weigh, weighing, reading)


def timestamps_are_mixed() -> None:
    """Fragments of one size make a body, whatever writes they are of."""
    real, about_of, opened = reading.own_fragment, streams.fragmented, fragments._opened

    def own_fragment(response: Any, about: Any) -> Any:
        other = about_of(response)
        return real(response, other if other is not None and other.size == about.size else about)

    def fragmented(response: Any) -> Any:
        found = about_of(response)
        return None if found is None else changed(found, timestamp="", etag="")

    def _take(self: Any, *arguments: Any) -> None:
        about = self.about
        self.about = changed(about, timestamp="", etag="")
        try:
            take(self, *arguments)
        finally:
            self.about = about

    def _opened(request: Any, target: Any, wanted: str, read_max: int) -> Any:
        number = wanted.partition("#")[2]
        files = [parse_name(name) for name in target.storage.look(target.location).names]
        times = [file.timestamp for file in files if isinstance(file, DataFile) and str(file.fragment) == number]
        return opened(request, target, f"{max(times)}#{number}" if times else wanted, read_max)

    take = streams.FragmentSources._take
    replace("own_fragment", own_fragment, reading)
    replace("fragmented", fragmented, streams)
    replace("_take", _take, streams.FragmentSources)
    replace("_opened", _opened, fragments)


def last_segments_are_torn() -> None:
    """A fragment is stored before its content is durable, so a power cut tears the end of it."""
    real = writing.NewFile.write

    def write(self: Any, name: str, content: bytes, attribute: bytes, data_first: bool = True) -> Any:
        file = parse_name(name)
        is_fragment = isinstance(file, DataFile) and not file.durable
        return real(self, name, content, attribute, data_first and not is_fragment)

    replace("write", write, writing.NewFile)


FRAGMENT_BUGS: Final = (
    Mutant(fragments_are_durable_before_a_quorum, 8),
    Mutant(one_fragment_counts_as_two, 8),
    Mutant(fragments_outlive_their_tombstone, 8),
    Mutant(lonely_fragments_count, 8),
    Mutant(timestamps_are_mixed, 8),
    Mutant(last_segments_are_torn, 8),
)
