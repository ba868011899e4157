"""What the processes of a store use: processor time and memory, as the kernel counts them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """Some processes and all below them. Without any, every figure is 0."""

    def __init__(self, roots: Iterable[int]) -> None:
        self.roots = list(roots)

    @classmethod
    def of_pid_files(cls, folders: Iterable[Path]) -> ProcessTree:
        """The processes whose ids the *.pid files of these folders begin with."""
        found = [int(file.read_text().split()[0]) for folder in folders for file in sorted(folder.glob("**/*.pid"))]
        return cls(found)

    def process_ids(self) -> list[int]:
        """All of them now."""
        found: list[int] = []
        waiting = list(self.roots)
        while waiting:
            process_id = waiting.pop()
            if process_id in found:
                continue
            children = list(Path(f"/proc/{process_id}/task").glob("*/children"))
            if children:
                found.append(process_id)
            for file in children:
                waiting += map(int, _read(file).split())
        return found

    def processor_seconds(self) -> float:
        """Time on a processor so far, in user and system mode, also of ended children that were waited for."""
        ticks = 0
        for process_id in self.process_ids():
            fields = _read(Path(f"/proc/{process_id}/stat")).rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
        return ticks / TICKS_PER_SECOND

    def memory_bytes(self) -> int:
        """Proportional set size: memory that several share counts once in all."""
        return self._sum("smaps_rollup", "Pss:")

    def resident_bytes(self) -> dict[int, int]:
        """Resident memory of each process, by its id."""
        return {process_id: _field(process_id, "status", "VmRSS:") for process_id in self.process_ids()}

    def _sum(self, file: str, field: str) -> int:
        return sum(_field(process_id, file, field) for process_id in self.process_ids())


def _field(process_id: int, file: str, field: str) -> int:
    """A figure in kB that the kernel gives for a process, in bytes; 0 if the process is gone."""
    kilobytes = 0
    for line in _read(Path(f"/proc/{process_id}/{file}")).splitlines():
        if line.startswith(field):
            kilobytes += int(line.split()[1])
    return kilobytes * 1024


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
