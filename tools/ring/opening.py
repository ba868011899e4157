"""Opens what a command is given: a builder file or a ring file."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.devices import Device
from objstore.ring.builder import RingBuilder
from objstore.ring.builderfile import MAGIC, load_builder
from objstore.ring.errors import RingFileError, RingMissing
from objstore.ring.format import read_ring
from objstore.ring.restore import restore_builder
from objstore.ring.settings import Settings
from objstore.system.wallclock import WallClock
from objstore.tools.ringbuilder.session import RingFiles, Session


def is_builder_file(path: str) -> bool:
    """Whether a file begins as a builder file does. Raises RingFileError, RingMissing."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except FileNotFoundError:
        raise RingMissing(path, "there is no such file") from None
    except OSError as error:
        raise RingFileError(path, f"cannot be read: {error.strerror or error}") from error


def open_either(path: str) -> RingBuilder:
    """The builder of a builder file; that of a ring file knows only what a ring does. Raises RingFileError."""
    if is_builder_file(path):
        return load_builder(path)
    ring = read_ring(path)
    builder = restore_builder(Settings(ring.part_power, ring.replica_count), ring.devices, ring.rows)
    builder.version, builder.next_part_power = ring.version, ring.next_part_power
    return builder


def editing(path: str, words: Sequence[str]) -> Session:
    """The session of a command that changes a builder file; `words` go into its history."""
    return Session(path, WallClock(), words=words)


def ring_path(path: str) -> str:
    """The ring file that goes with a builder file."""
    return RingFiles.named(path).ring


def place_of(device: Device) -> str:
    """r1z2-10.0.0.1:6200/sda."""
    return f"r{device.region}z{device.zone}-{device.address}/{device.device}"
