"""Programs that the agent runs: short ones with limits, and machines, which outlive the agent and are found again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from objstore.compute.host.driver import GIB, MachineError

TOOL_SECONDS: Final = 60.0
TOOL_CPU_SECONDS: Final = 60
TOOL_MEMORY_BYTES: Final = 2 * GIB
TOOL_OUTPUT_MAX: Final = 64 * 1024 * 1024
KILL_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02


def run_tool(*command: str, seconds: float = TOOL_SECONDS) -> bytes:
    """What a program prints. Its time, processor time and memory are limited. Raises MachineError."""
    limits = ("prlimit", f"--cpu={TOOL_CPU_SECONDS}", f"--as={TOOL_MEMORY_BYTES}", "--core=0", "--")
    try:
        process = subprocess.Popen(
            [*limits, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise MachineError(f"{command[0]} cannot be run: {error.strerror}") from error
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"{command[0]} did not end within {seconds:.0f} s") from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        raise MachineError(f"{command[0]} failed: {errors.decode(errors='replace').strip()[-300:]}")
    if len(output) > TOOL_OUTPUT_MAX:
        raise MachineError(f"{command[0]} printed more than {TOOL_OUTPUT_MAX} bytes")
    return output


def missing(*programs: str) -> list[str]:
    """Those of the programs that this host lacks."""
    return [program for program in programs if shutil.which(program) is None]


def processes_with(path: str) -> dict[int, str]:
    """Every process, by its number, whose command line has an argument with `path` in it, and that has not ended.

    A machine's process is found by its folder: the name is unique, so a number that was used again is not mistaken.
    """
    found = {}
    wanted = path.encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read()
            except OSError:
                continue  # it has ended
            if wanted in line:
                found[int(name)] = line.decode(errors="replace")
    found.pop(os.getpid(), None)
    return found


def is_process_of(number: int, path: str) -> bool:
    """Whether the process has an argument with `path` in it; numbers are used again."""
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            return path.encode() in file.read()
    except OSError:
        return False


def kill_all(find: Callable[[], Sequence[int]], own_group: int | None = None) -> None:
    """Kill every process that `find` gives, with its group, until it gives none. Raises MachineError."""
    own_group = os.getpgrp() if own_group is None else own_group
    deadline = time.monotonic() + KILL_SECONDS
    while numbers := find():
        for number in numbers:
            try:
                group = os.getpgid(number)
                if group == own_group:
                    os.kill(number, signal.SIGKILL)
                else:
                    os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if time.monotonic() > deadline:
            raise MachineError("the machine's process does not end when it is killed")
        time.sleep(POLL_SECONDS)


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
