"""How long a device was away: its own note of when some peer last answered for each of its databases in one pass."""

from __future__ import annotations

from typing import Final

import msgspec

from objstore.system import files

_SUFFIX: Final = "_replicated"


def _path(root: str, folder: str) -> str:
    return f"{root}/{folder}{_SUFFIX}"


def read_note(root: str, folder: str) -> float | None:
    """When the last such pass ended, in seconds since the epoch; None for a device that is new. Blocks."""
    try:
        with open(_path(root, folder), "rb") as file:
            return msgspec.json.decode(file.read(), type=float)
    except (OSError, msgspec.DecodeError):
        return None


def write_note(root: str, folder: str, now: float) -> None:
    """Blocks; raises OSError."""
    files.write_atomically(_path(root, folder), msgspec.json.encode(now))
