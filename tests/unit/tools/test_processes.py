"""Detached processes and their pid files."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from objstore.tools.processes import DetachedProcess


def sleeper(tmp_path: Path) -> DetachedProcess:
    command = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
    return DetachedProcess(command, tmp_path / "run" / "s.pid", tmp_path / "log" / "s.log")


def test_it_starts_once_and_ends(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    assert process.process_id is None
    assert process.start()
    try:
        assert not process.start()
        assert process.process_id is not None
    finally:
        process.signal(signal.SIGKILL)
        assert process.wait_until_gone(10)
    assert process.process_id is None
    assert not process.pid_file.exists()


def test_the_pid_of_another_process_is_not_mistaken(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    process.pid_file.parent.mkdir()
    process.pid_file.write_text(f"{os.getpid()} 1\n")  # this process, but not started at that time
    assert process.process_id is None
    process.signal(signal.SIGKILL)  # reaches nobody


def test_a_damaged_pid_file_is_no_process(tmp_path: Path) -> None:
    process = sleeper(tmp_path)
    process.pid_file.parent.mkdir()
    process.pid_file.write_text("what")
    assert process.process_id is None


def test_a_process_whose_first_thread_has_ended_still_runs(tmp_path: Path) -> None:
    """Its other threads keep its files and addresses, so that another one could not start in its place."""
    script = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)\n"
    )
    process = DetachedProcess([sys.executable, "-c", script], tmp_path / "s.pid", tmp_path / "s.log")
    process.start()
    try:
        stat = Path(f"/proc/{process.process_id}/stat")
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            os.sched_yield()
        assert process.process_id is not None
    finally:
        process.signal(signal.SIGKILL)
        assert process.wait_until_gone(10)
