"""The file of managed users, for those who change it: commands, and the query API of IAM."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import Struct

from objstore.config.access_keys import FILE_BYTES_MAX, MANAGED_FILE, ManagedTables, ManagedUsers
from objstore.config.loading import ConfigError
from objstore.system import files
from objstore.system.generations import shared_generations


class ManagedUsersFile(Struct, frozen=True):
    """access-keys.json at `path`; whoever may read the file `like`, as the proxy may, can read it too."""

    path: str
    like: str

    def read(self) -> ManagedUsers:
        """Blocks. Raises ConfigError."""
        return MANAGED_FILE.read(self.path)

    @contextmanager
    def changing(self) -> Iterator[ManagedTables]:
        """What the file holds, which is written after the block, while nobody else changes it.

        Blocks. Raises ConfigError, OSError.
        """
        with files.alone_with(self.path):
            tables = ManagedTables.of(self.read())
            yield tables
            self.write(tables.managed)

    def follow(self, managed: ManagedUsers) -> None:
        """Replace the content if it is older: it is a copy of what the store keeps. Blocks; raises as `write`."""
        with files.alone_with(self.path):
            try:
                revision = self.read().revision
            except ConfigError:
                revision = -1
            if revision < managed.revision:
                self.write(managed)

    def write(self, managed: ManagedUsers) -> None:
        """Replace the content; the processes of this service take it at once. Blocks. Raises ConfigError, OSError."""
        content = MANAGED_FILE.encode(managed)
        if len(content) > FILE_BYTES_MAX:
            raise ConfigError(self.path, 0, "", f"would have more than {FILE_BYTES_MAX} bytes")
        files.write_atomically(self.path, content, 0o600)
        status = os.stat(self.like)
        if os.geteuid() == 0:
            os.chown(self.path, status.st_uid, status.st_gid)
        os.chmod(self.path, status.st_mode & 0o640 | 0o600)
        shared_generations().bump(self.path)
