"""Extended attributes of open files."""

from __future__ import annotations

import errno

import xattr


def get(descriptor: int, name: str) -> bytes | None:
    """The value of the attribute, None if it is not there; raises OSError."""
    try:
        value: bytes = xattr.getxattr(descriptor, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.ENOTSUP):
            return None
        raise
    return value


def set(descriptor: int, name: str, value: bytes) -> None:
    """Give the open file the attribute; raises OSError (ENOSPC when the inode has no room)."""
    xattr.setxattr(descriptor, name, value)
