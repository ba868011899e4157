"""What keeps a device from being quarantined file by file when it is the device that is wrong.

Files that were copied without their extended attributes are damaged one and all. To set them aside one by one would
empty the device and fill the log. So before a file goes, a few others are looked at; if nearly all of them are damaged
for the same reason, the device is out of service as a whole. And only so many files of a device go within a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Final

from objstore.logs import Logger
from objstore.mounts import DeviceUnavailable, OutOfService, take_out_of_service
from objstore.object.engine import BAD_DEVICE_HINT, DEVICE_CHECK, DeviceSample
from objstore.object.file_engine.disk import Disk
from objstore.object.metadata import MetadataCorrupt, ObjectMetadata, TombstoneMetadata, Trailer, decode
from objstore.object.versions import resolve_versions
from objstore.system.clock import Clock

SAMPLED_MAX: Final = 20
# Within such a time so many files go, and no more: by then the disk itself is in question.
PERIOD_SECONDS: Final = 60.0
QUARANTINED_MAX: Final = 30


def take_sample(disk: Disk, random: Random, top: str, hash_of: Callable[[str], str] | None) -> DeviceSample:
    """Read the metadata of some objects below DEVICE/objects[-POLICY]. Raises OSError."""
    partitions = _names(disk, top)
    random.shuffle(partitions)
    each = SAMPLED_MAX // max(len(partitions), 1) + 1  # from few partitions more of each
    tried, reasons = 0, Counter[str]()
    for partition in partitions[:SAMPLED_MAX]:
        directories = (
            f"{top}/{partition}/{suffix}/{digest}"
            for suffix in _names(disk, f"{top}/{partition}")
            for digest in _names(disk, f"{top}/{partition}/{suffix}")
        )
        for directory in islice(directories, each):
            damage = _damage(disk, directory, hash_of)
            tried += damage is not None
            if damage:
                reasons[damage] += 1
    (commonest, damaged), *_ = reasons.most_common(1) or [("", 0)]
    return DeviceSample(tried, damaged, commonest)


def _names(disk: Disk, directory: str) -> list[str]:
    return disk.look(directory)[0] or []


def _damage(disk: Disk, directory: str, hash_of: Callable[[str], str] | None) -> str | None:
    """What is wrong with an object's metadata, "" if nothing is, None if there are none to read."""
    try:
        current = resolve_versions(_names(disk, directory))
        newest = current.data or current.current.marker or current.current.tombstone
        if newest is None:
            return None
        attribute = disk.open(f"{directory}/{newest.name}").attribute
        found: ObjectMetadata | TombstoneMetadata | Trailer
        found = decode(TombstoneMetadata, attribute) if current.data is None else decode(ObjectMetadata, attribute)
    except OSError:
        return None  # it is gone by now, or on a part of the disk that cannot be read
    except MetadataCorrupt as error:
        return error.reason
    if hash_of is not None and not isinstance(found, Trailer) and hash_of(found.name) != directory.rpartition("/")[2]:
        return "its place is another object's: the [hash] secrets are not those it was stored with"
    return ""


class QuarantineGuard:
    """Decides whether a damaged file of a device may be quarantined."""

    def __init__(self, path: str, log: Logger, clock: Clock) -> None:
        self._path = path
        self._log = log
        self._clock = clock
        self._since = -PERIOD_SECONDS
        self._left = 0

    def admit(self, sample: Callable[[], DeviceSample]) -> None:
        """Returns if the file may go. Raises DeviceUnavailable if the device is suspect, OSError."""
        root, _, device = self._path.rpartition("/")
        now = self._clock.monotonic()
        if now - self._since >= PERIOD_SECONDS:
            # Whoever comes while the sample is taken is refused: what it will say is not known yet.
            self._since, self._left = now, 0
            taken = sample()
            if not taken.is_bad:
                self._left = QUARANTINED_MAX
            elif take_out_of_service(root, device, OutOfService(self._clock.now(), (taken.reason,), DEVICE_CHECK)):
                self._log.error("device taken out of service", device=device, reason=taken.reason, hint=BAD_DEVICE_HINT)
        if not self._left:
            raise DeviceUnavailable(device)
        self._left -= 1
        if not self._left:
            self._log.error("many damaged files: for a minute the next ones stay, and are not served", device=device)
