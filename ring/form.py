"""In which form a ring file is written: the version of the format, and how many bytes a device id takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.format import DEVICE_ID_MAX, MAGIC, VERSION, format_ring
from objstore.ring.gunzip import Gunzip, GunzipError
from objstore.ring.ring import Ring
from objstore.ring.writev2 import format_ring_v2

HEAD_BYTES: Final = 1 << 10
NARROW_BYTES: Final = 2
WIDE_BYTES: Final = 4


@dataclass(frozen=True)
class RingForm:
    """`id_bytes` None takes as many as the largest id needs. Version 1 knows ids of two bytes only."""

    version: int = 1
    id_bytes: int | None = None

    def content(self, ring: Ring) -> bytes:
        """The bytes of the file. Raises ValueError when the ring cannot be had in this form."""
        if self.version == 1:
            if self.id_bytes not in (None, NARROW_BYTES):
                raise ValueError(f"device ids of {self.id_bytes} bytes need a ring file of version 2")
            return format_ring(ring)
        narrow = ring.devices[-1].id <= DEVICE_ID_MAX
        return format_ring_v2(ring, self.id_bytes or (NARROW_BYTES if narrow else WIDE_BYTES))


def format_version(path: str) -> int:
    """The version of a ring file's format. Raises RingFileError when the file does not begin as one, RingMissing."""
    try:
        with open(path, "rb") as file:
            stream = Gunzip(file.read(HEAD_BYTES))
        magic = stream.read_exactly(len(MAGIC), "the magic")
        (version,) = VERSION.unpack(stream.read_exactly(VERSION.size, "the format version"))
    except FileNotFoundError:
        raise RingMissing(path) from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error
    except GunzipError as error:
        raise RingFileError(path, f"not a valid ring file: {error}") from error
    if magic != MAGIC:
        raise RingFileError(path, "not a valid ring file: it does not begin with R1NG")
    return int(version)
