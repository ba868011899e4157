"""Watchers: what sees every object that the auditor finds whole.

One is chosen by its name in the auditor's `watchers`. Packages of others register theirs as entry points of the group
`objstore.object_watchers`; what is loaded is called with WatcherParts and gives a Watcher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Final, Protocol

from msgspec import Struct

from objstore.config.object import AuditorConfig
from objstore.object.engine import Location, StorageEngine
from objstore.object.metadata import ObjectMetadata
from objstore.ring.daemon_context import DaemonContext

ENTRY_POINTS: Final = "objstore.object_watchers"


class Watcher(Protocol):
    """Sees all objects of all devices, once in each full pass. What it raises is logged and otherwise ignored."""

    def start(self) -> None:
        """A pass begins."""

    def see_object(self, metadata: ObjectMetadata, location: Location) -> None:
        """An object as it was stored, and where it lies."""

    def end(self) -> dict[str, int]:
        """A pass is over: counts to report."""


class WatcherParts(Struct, frozen=True):
    """What a watcher may use."""

    config: AuditorConfig
    context: DaemonContext
    engine: StorageEngine


WatcherFactory = Callable[[WatcherParts], Watcher]


class UnknownWatcher(ValueError):
    """No watcher has this name."""


def make_watchers(names: Sequence[str], own: dict[str, WatcherFactory], parts: WatcherParts) -> dict[str, Watcher]:
    """The watchers of these names: our `own`, or those of other packages. Raises UnknownWatcher."""
    made: dict[str, Watcher] = {}
    for name in names:
        factory = own.get(name)
        if factory is None:
            found = next(iter(entry_points(group=ENTRY_POINTS, name=name)), None)
            if found is None:
                raise UnknownWatcher(f"no watcher is called {name!r}")
            factory = found.load()
        made[name] = factory(parts)
    return made
