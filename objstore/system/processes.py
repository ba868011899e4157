"""What ties one process to another."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
_libc: Final = ctypes.CDLL(None, use_errno=True)


def end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent, process `parent`, ends in whatever way. Raises OSError."""
    if _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if os.getppid() != parent:  # it ended before the kernel knew
        os.kill(os.getpid(), signal.SIGKILL)
