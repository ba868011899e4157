"""Which errors can reach an edge of the proxy: each API has to have an answer to every one."""

from __future__ import annotations

import importlib
import pkgutil

import objstore.proxy
from objstore.errors import StoreError
from objstore.http.errors import HttpError
from objstore.proxy.core.errors import CoreError, PathError

# Modules whose errors cannot happen while a proxy answers: they read files at start, build rings or serve disks.
ELSEWHERE = (
    "objstore.account",
    "objstore.batching",
    "objstore.bench",
    "objstore.client",
    "objstore.cloud",
    "objstore.compute",
    "objstore.config",
    "objstore.container",
    "objstore.db",
    "objstore.identity",
    "objstore.image",
    "objstore.object",
    "objstore.operators",
    "objstore.ring.builder",
    "objstore.ring.plain_pickle",
    "objstore.ring.swift_import",
    "objstore.tools",
)
NOT_HERE = {"BuilderError", "GunzipError", "ReplicaFailed"}


def all_errors(kind: type[StoreError] = StoreError) -> set[type[StoreError]]:
    found = set()
    for each in kind.__subclasses__():
        found |= {each} | all_errors(each)
    return found


def reachable_errors(answered: tuple[type[StoreError], ...] = ()) -> set[type[StoreError]]:
    """All kinds, but for HttpError and those that the caller answers itself."""
    for module in pkgutil.walk_packages(objstore.proxy.__path__, "objstore.proxy."):
        importlib.import_module(module.name)
    return {
        error
        for error in all_errors()
        if error.__module__.startswith("objstore.")
        and not error.__module__.startswith(ELSEWHERE)
        and not issubclass(error, (HttpError, *answered))
        and error not in (CoreError, PathError)
        and error.__name__ not in NOT_HERE
        and not any(issubclass(error, kind) and kind.__name__ in NOT_HERE for kind in all_errors())
    }
