"""All rings of a cluster, by what they place."""

from __future__ import annotations

import os
from typing import Final

from objstore.ring.errors import RingFileError
from objstore.ring.ring import Ring
from objstore.ring.ringfile import CHECK_INTERVAL_SECONDS, MonotonicClock, RingFile, RingUse
from objstore.system import files

ACCOUNT_FILE: Final = "account.ring.gz"
CONTAINER_FILE: Final = "container.ring.gz"
SUFFIX: Final = ".ring.gz"


def object_file(policy_index: int) -> str:
    """The name of a storage policy's ring file."""
    return "object.ring.gz" if policy_index == 0 else f"object-{policy_index}.ring.gz"


class Rings:
    """The rings of a folder. Each is read when first asked for, and then follows its file.

    Asking for a ring whose file is missing raises RingMissing, for a bad one RingFileError; ask again at any time.
    """

    def __init__(
        self, ring_dir: str, clock: MonotonicClock, check_interval_seconds: float = CHECK_INTERVAL_SECONDS
    ) -> None:
        self._ring_dir: Final = ring_dir
        self._clock: Final = clock
        self._check_interval_seconds: Final = check_interval_seconds
        self._files: Final[dict[str, RingFile]] = {}

    @property
    def account(self) -> Ring:
        return self._ring(ACCOUNT_FILE)

    @property
    def container(self) -> Ring:
        return self._ring(CONTAINER_FILE)

    def object(self, policy_index: int) -> Ring:
        """The ring of a storage policy."""
        return self._ring(object_file(policy_index))

    def refreshed_object(self, policy_index: int) -> Ring:
        """The same, with a look at the file now. Blocks."""
        name = object_file(policy_index)
        self._ring(name)
        self._files[name].check()
        return self._files[name].ring

    def in_use(self) -> dict[str, RingUse]:
        """By path, what lies in the folder or is used though it is gone, with a look at all files now. Blocks."""
        names = {name for name in files.list_directory(self._ring_dir) if name.endswith(SUFFIX)}
        return {os.path.join(self._ring_dir, name): self._use_of(name) for name in sorted(names.union(self._files))}

    def _use_of(self, name: str) -> RingUse:
        try:
            self._ring(name)
        except RingFileError as error:
            return RingUse("", None, error.reason)
        self._files[name].check()
        return self._files[name].use

    def _ring(self, name: str) -> Ring:
        file = self._files.get(name)
        if file is None:
            path = os.path.join(self._ring_dir, name)
            file = self._files[name] = RingFile(path, self._clock, self._check_interval_seconds)
        return file.ring
