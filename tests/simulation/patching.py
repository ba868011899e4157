"""Puts the simulated system in the place of the real one, in every module of the program."""

from __future__ import annotations

import importlib
import os
import pkgutil
import random
import sqlite3
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import xattr

from tests.simulation.calls import SimulatedCalls
from tests.simulation.databases import SimulatedDatabases

TIERS: Final = ("account", "container", "object", "proxy", "ring", "config", "db", "http", "system")
# These are the simulation's own ground.
LEFT_ALONE: Final = ("objstore.system.concurrency", "objstore.system.hub")


def load_program() -> list[ModuleType]:
    """Import every module that a server or daemon may use, so that none is imported past the patches."""
    import objstore

    for found in pkgutil.iter_modules(objstore.__path__, "objstore."):
        name = found.name.rpartition(".")[2]
        if name in ("image", "compute"):
            continue
        module = importlib.import_module(found.name)
        if name in TIERS:
            for inner in pkgutil.walk_packages(module.__path__, found.name + "."):
                importlib.import_module(inner.name)
    importlib.import_module("objstore.tools.assembly")
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith("objstore.") and name not in LEFT_ALONE
    ]


class SimulatedTime:
    """Stands for the module time."""

    def __init__(self, now: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self.time = now
        self.monotonic = self.perf_counter = monotonic

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def time_ns(self) -> int:
        return int(self.time() * 1e9)


class SimulatedAttributes:
    """Stands for the module xattr."""

    def __init__(self, calls: SimulatedCalls) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        return getattr(xattr, name)

    def setxattr(self, descriptor: int, name: str, value: bytes) -> None:
        self._calls.set_attribute(descriptor, name, value, xattr)


def patch(calls: SimulatedCalls, databases: SimulatedDatabases, clock: SimulatedTime, chance: random.Random) -> None:
    """For the rest of this process's life."""
    stand_ins: dict[int, Any] = {
        id(os): calls,
        id(time): clock,
        id(sqlite3): databases,
        id(random): chance,
        id(xattr): SimulatedAttributes(calls),
    }
    for module in load_program():
        names = vars(module)
        for name, value in list(names.items()):
            if type(value) is ModuleType and id(value) in stand_ins:
                names[name] = stand_ins[id(value)]
        names["open"] = calls.open_file
