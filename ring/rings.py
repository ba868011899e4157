"""All rings of a cluster, by what they place."""

from __future__ import annotations

import os
from typing import Final

from objstore.ring.ring import Ring
from objstore.ring.ringfile import CHECK_INTERVAL_SECONDS, MonotonicClock, RingFile

ACCOUNT_FILE: Final = "account.ring.gz"
CONTAINER_FILE: Final = "container.ring.gz"


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

    def _ring(self, name: str) -> Ring:
        file = self._files.get(name)
        if file is None:
            path = os.path.join(self._ring_dir, name)
            file = self._files[name] = RingFile(path, self._clock, self._check_interval_seconds)
        return file.ring
