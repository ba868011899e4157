"""What daemons report of themselves for operators: the last pass, its counts, how far the present one is.

Each daemon has one small file of JSON, replaced as a whole. The recon pages of the servers read it. It may be
lost with the machine: nothing depends on it.
"""

from __future__ import annotations

import os
from typing import Any, Protocol

import msgspec

from objstore.system import files


class Recon(Protocol):
    """Where a daemon reports."""

    def report(self, daemon: str, **values: Any) -> None:
        """Replace these values, which JSON can hold, among those the daemon has reported before."""


class ReconFolder:
    """A folder of reports, DAEMON.json each, shared by the processes of a machine."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def report(self, daemon: str, **values: Any) -> None:
        """Replace these values in the daemon's file. Raises OSError."""
        merged = self.read(daemon) | values
        path = self._path(daemon)
        temporary = files.temporary_name(path)
        files.make_directories(self._directory)
        with open(temporary, "wb") as file:
            file.write(msgspec.json.encode(merged))
        os.replace(temporary, path)

    def read(self, daemon: str) -> dict[str, Any]:
        try:
            with open(self._path(daemon), "rb") as file:
                return msgspec.json.decode(file.read(), type=dict[str, Any])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}

    def _path(self, daemon: str) -> str:
        return f"{self._directory}/{daemon}.json"
