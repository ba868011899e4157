"""Servers that run detached from the terminal, each known by a pid file."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

POLL_SECONDS: Final = 0.05


class DetachedProcess:
    """One server: its command (a full path first), where it logs, and the file that remembers its process.

    The pid file holds the process id and its start time, since ids are used again.
    """

    def __init__(self, command: Sequence[str], pid_file: Path, log_file: Path) -> None:
        self.command = list(command)
        self.pid_file = pid_file
        self.log_file = log_file

    @property
    def process_id(self) -> int | None:
        """The id of the running process, None if it is not running."""
        try:
            process_id, started = map(int, self.pid_file.read_text().split())
        except (FileNotFoundError, ValueError):
            return None
        return process_id if _started_at(process_id) == started else None

    def start(self) -> bool:
        """Start it in a session of its own, unless it runs; says whether it was started."""
        if self.process_id is not None:
            return False
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self.pid_file.parent.mkdir(parents=True, exist_ok=True)
        process_id = self._spawn()
        self.pid_file.write_text(f"{process_id} {_started_at(process_id)}\n")
        return True

    def _spawn(self) -> int:
        return os.posix_spawn(
            self.command[0],
            self.command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, SIGKILL to its whole session."""
        process_id = self.process_id
        if process_id is None:
            return
        try:
            if number is signal.SIGKILL:
                os.killpg(process_id, number)
            else:
                os.kill(process_id, number)
        except ProcessLookupError:
            pass

    def wait_until_gone(self, timeout_seconds: float) -> bool:
        """Wait for it to end; says whether it has."""
        deadline = time.monotonic() + timeout_seconds
        while self.process_id is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        self.pid_file.unlink(missing_ok=True)
        return True


def _started_at(process_id: int) -> int | None:
    """When a process started, in clock ticks since boot; None if there is none, or only its exit status is left.

    The first thread of a killed process can end before the others, which may wait for a disk: until they have ended
    too, the process holds its files and the addresses that it listens on.
    """
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name stands in parentheses and may hold anything; what follows is numbered from field 3.
    fields = status.rpartition(")")[2].split()
    threads = int(fields[17])
    return None if fields[0] == "Z" and threads <= 1 else int(fields[19])
