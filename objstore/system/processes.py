"""What a process asks of the system for itself, or of its threads."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
# A thread that may not run holds up those that wait for the interpreter while it has it: so not the lowest.
THREAD_NICENESS: Final = 10
# From <malloc.h>.
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
_libc: Final = ctypes.CDLL(None, use_errno=True)


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent, process `parent`, ends in whatever way. Raises OSError."""
    if _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)


def give_memory_back() -> None:
    """Have the allocator return what large bodies and listings needed, instead of keeping it for the next ones.

    By default each thread gets a heap of its own, of which what was freed in the middle stays, and the size from which
    blocks come straight from the system grows with use. Call before threads start; a C library without these settings
    goes on as it is.
    """
    for parameter, value in ((_ARENA_MAX, 2), (_MMAP_THRESHOLD, 256 * 1024), (_TRIM_THRESHOLD, 1024 * 1024)):
        _libc.mallopt(parameter, value)


def keep_memory_of(block: int, working_set: int) -> None:
    """Have the allocator keep freed blocks of so many bytes, and as much of them as is used over and over.

    Memory that goes back to the system comes again page by page, each cleared: erasure codes run ten times as fast on
    memory that is kept.
    """
    _libc.mallopt(_MMAP_THRESHOLD, block)
    _libc.mallopt(_TRIM_THRESHOLD, working_set)


def lower_thread_priority() -> None:
    """Have the calling thread run, from now on, mostly when no other thread of the machine wants to."""
    os.setpriority(os.PRIO_PROCESS, 0, THREAD_NICENESS)  # to Linux, process 0 is the calling thread


def blocks_read() -> int:
    """How many blocks the calling thread has had read from disks: unchanged means all came from memory."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
