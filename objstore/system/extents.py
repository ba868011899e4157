"""Telling the filesystem what is coming: room for a large file, and when to begin writing it to the disk."""

from __future__ import annotations

import ctypes
import os
from typing import Final

# From linux/falloc.h and linux/fs.h.
_KEEP_SIZE: Final = 0x01
_START_WRITING: Final = 2
_WRITE_AND_WAIT: Final = 1 | 2 | 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_libc.sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def preallocate(descriptor: int, length: int) -> None:
    """Reserve room for `length` bytes without changing the file's size. Blocks; raises OSError (ENOSPC).

    Not posix_fallocate(3): where the filesystem cannot, that writes the whole length. EOPNOTSUPP then.
    """
    _check(_libc.fallocate(descriptor, _KEEP_SIZE, 0, length))


def start_writing(descriptor: int, offset: int, length: int) -> None:
    """Have the kernel begin to write this part of the file to the disk; it says nothing about durability.

    Blocks while the disk's queue is full; raises OSError.
    """
    _check(_libc.sync_file_range(descriptor, offset, length, _START_WRITING))


def write_out(descriptor: int, offset: int, length: int) -> None:
    """Wait until this part of the file has been written to the disk; it is not durable yet. Blocks; raises OSError."""
    _check(_libc.sync_file_range(descriptor, offset, length, _WRITE_AND_WAIT))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
