"""What daemons report of themselves for operators: the last pass, its counts, how far the present one is.

Each daemon has one small file of JSON, replaced as a whole. It is read by who answers operators' questions, and may be
lost with the machine: nothing depends on it.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

import msgspec

from objstore.system import files


class Recon(Protocol):
    """Where a daemon reports."""

    def report(self, daemon: str, **figures: Any) -> None:
        """Replace these figures, values of JSON, among those the daemon has reported before."""


class NoRecon:
    """Nobody wants to know."""

    def report(self, daemon: str, **figures: Any) -> None:
        """Forget it."""


class ReconFolder:
    """A folder of reports, DAEMON.json each, shared by the processes of a machine."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def report(self, daemon: str, **figures: Any) -> None:
        """See Recon. Raises OSError."""
        merged = self.read(daemon) | figures
        path = self._path(daemon)
        temporary = files.temporary_name(path)
        files.make_directories(self._directory)
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(merged))
        os.replace(temporary, path)

    def read(self, daemon: str) -> dict[str, Any]:
        """What a daemon has reported, {} if nothing."""
        try:
            with open(self._path(daemon), "rb") as file:
                return msgspec.json.decode(file.read(), type=dict[str, Any])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def _path(self, daemon: str) -> str:
        return f"{self._directory}/{daemon}.json"
