"""All rings of a cluster, each of which follows its file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from objstore.logs import get_logger
from objstore.policies import Policy
from objstore.ring.errors import RingFileError
from objstore.ring.format import read_ring, read_with_digest
from objstore.ring.ring import Ring
from objstore.system import files
from objstore.system.generations import shared_generations

if TYPE_CHECKING:
    from objstore.system.clock import Clock

CHECK_INTERVAL_SECONDS: Final = 15.0
# For so long what a new ring has moved is also looked for where it was: replication has moved it by then.
YOUNG_SECONDS: Final = 86_400.0
# A partition moves at most once in a ring's min_part_hours, but several rings may follow each other in that time.
FORMER_RINGS_MAX: Final = 4
# Where a ring that is replaced is kept, beside the new one; its time of modification is that of the replacement.
PREVIOUS: Final = ".previous"

log = get_logger(__name__)


class RingUse(Struct, frozen=True):
    """The ring in use: the MD5 in hex of the file it was read from, "" and None if there is none.

    `problem` is why the file that is there now is not it; "" when it is.
    """

    md5: str
    version: int | None
    problem: str = ""


FileIdentity = tuple[int, int, int]  # inode, size in bytes, mtime in nanoseconds


class RingFile:
    """The ring of a file, read again when the file changes; looks at most once in `check_interval_seconds`.

    A worker that puts a new file there bumps the generation of the path, and all workers of the service look at once.
    A file that cannot be read leaves the last good ring in use, and is logged once for each version of the file.
    """

    def __init__(
        self,
        path: str,
        clock: Clock,
        check_interval_seconds: float = CHECK_INTERVAL_SECONDS,
    ) -> None:
        """Reads the file. Blocks; raises RingFileError."""
        self.path: Final = path
        self._clock: Final = clock
        self._check_interval_seconds: Final = check_interval_seconds
        self._generations: Final = shared_generations()
        self._generation = self._generations.read(path)
        self._checked_at = clock.monotonic()
        # The identity is taken before reading: a file replaced in between is then read once more, not missed.
        self._identity = _identity_of(path)
        found = read_with_digest(path)
        self._ring = found.ring
        self._use = RingUse(found.md5, found.ring.version)
        self._replaced: list[tuple[float, Ring]] = self._kept_previous()
        self._look_back()

    @property
    def ring(self) -> Ring:
        """The newest good ring; costs two comparisons between checks."""
        if (
            self._clock.monotonic() - self._checked_at >= self._check_interval_seconds
            or self._generations.read(self.path) != self._generation
        ):
            self.check()
        return self._ring

    @property
    def use(self) -> RingUse:
        """What the ring was read from, as of the last check."""
        return self._use

    def check(self) -> None:
        """Look at the file now, and read it if it is another one than before."""
        self._checked_at = self._clock.monotonic()
        self._generation = self._generations.read(self.path)
        identity = _identity_of(self.path)
        if identity != self._identity:
            self._identity = identity
            self._read_again()
        self._look_back()

    def _read_again(self) -> None:
        former = self._ring
        try:
            found = read_with_digest(self.path)
        except RingFileError as error:
            self._use = RingUse(self._use.md5, self._use.version, error.reason)
            log.error("ring file is bad, the last good ring stays in use", path=self.path, reason=error.reason)
            return
        self._ring = found.ring
        self._use = RingUse(found.md5, found.ring.version)
        log.info("ring file loaded", path=self.path, version=self._ring.version)
        if former.rows != self._ring.rows or former.devices != self._ring.devices:
            former.former = ()
            self._replaced.insert(0, (self._clock.monotonic(), former))

    def _kept_previous(self) -> list[tuple[float, Ring]]:
        """The ring that was in use before, with when it was replaced, by the monotonic clock."""
        path = self.path + PREVIOUS
        try:
            age = max(self._clock.now() - os.stat(path).st_mtime, 0.0)
            return [(self._clock.monotonic() - age, read_ring(path))] if age < YOUNG_SECONDS else []
        except (OSError, RingFileError):
            return []

    def _look_back(self) -> None:
        if self._replaced or self._ring.former:
            oldest = self._clock.monotonic() - YOUNG_SECONDS
            self._replaced = [each for each in self._replaced if each[0] > oldest][:FORMER_RINGS_MAX]
            self._ring.former = tuple(ring for _, ring in self._replaced)


def _identity_of(path: str) -> FileIdentity | None:
    """What changes whenever the file is replaced; None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


ACCOUNT_FILE: Final = "account.ring.gz"
CONTAINER_FILE: Final = "container.ring.gz"
SUFFIX: Final = ".ring.gz"


def object_file(policy_index: int) -> str:
    return "object.ring.gz" if policy_index == 0 else f"object-{policy_index}.ring.gz"


def check_policy(policy: Policy, ring: Ring, path: str) -> None:
    """Raises RingFileError unless a policy's ring has a replica for each fragment."""
    if policy.replicas is not None and ring.replica_count != policy.replicas:
        reason = f"it has {ring.replica_count:g} replicas, and policy {policy.name} {policy.replicas} fragments"
        raise RingFileError(path, reason)


class Rings:
    """The rings of a folder. Each is read when first asked for, and then follows its file.

    Asking for a ring whose file is missing raises RingMissing, for a bad one RingFileError; ask again at any time.
    """

    def __init__(self, ring_dir: str, clock: Clock, check_interval_seconds: float = CHECK_INTERVAL_SECONDS) -> None:
        self._ring_dir: Final = ring_dir
        self._clock: Final = clock
        self._check_interval_seconds: Final = check_interval_seconds
        self._files: Final[dict[str, RingFile]] = {}

    def load(self, policies: Iterable[Policy]) -> None:
        """Read all rings of the cluster now, also for the workers forked later. Blocks. Raises RingFileError."""
        for name in (ACCOUNT_FILE, CONTAINER_FILE):
            self._ring(name)
        for policy in policies:
            check_policy(policy, self.object(policy.index), os.path.join(self._ring_dir, object_file(policy.index)))

    def faults(self) -> list[str]:
        """Why files of rings in use are not those in use: a line each. Costs what asking for the rings does."""
        used = [(name, self._ring(name), self._files[name].use) for name in sorted(self._files)]
        return [f"{name}: {use.problem}; the last good ring is in use" for name, _, use in used if use.problem]

    @property
    def account(self) -> Ring:
        return self._ring(ACCOUNT_FILE)

    @property
    def container(self) -> Ring:
        return self._ring(CONTAINER_FILE)

    def object(self, policy_index: int) -> Ring:
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
