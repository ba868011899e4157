"""Where managed users are kept: in a file, or in the store itself, of which each machine then has a copy as that file.

In the store they are one object of an account of its own, sealed with a key that only the cluster's servers can make:
secrets of access keys lie on no disk of an object server as they are. A change is a conditional write, so of two at
once one is made again; a strong policy, where there is one, decides that for good. As long as nobody has changed
anything through the store, the file is what holds: the first change takes over what its machine has.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from cryptography.fernet import Fernet, InvalidToken
from msgspec import Struct
from msgspec.structs import replace

from objstore.conditions import WriteConditions
from objstore.config.access_keys import FILE_BYTES_MAX, MANAGED_FILE, ManagedTables, ManagedUsers
from objstore.config.loading import ConfigError
from objstore.daemon import Step
from objstore.http.bodies import BytesBody
from objstore.paths import ResourcePath
from objstore.proxy.auth.user_file import ManagedUsersFile
from objstore.proxy.core.containers import made_on_demand
from objstore.proxy.core.errors import CoreError, ObjectNotFound, PreconditionFailed, QuorumNotReached
from objstore.proxy.core.info import ABSENT, PRESENT
from objstore.proxy.core.listing import whole
from objstore.proxy.core.objects import GetObject, PutObject
from objstore.system.threads import ThreadGroup

if TYPE_CHECKING:
    from objstore.proxy.core.context import ProxyContext
    from objstore.recon import Recon

PLACE: Final = ResourcePath(".users", "managed", "current")
KEY_PURPOSE: Final = "managed users"
# What is in the store is looked at so often by one process of each proxy.
FOLLOW_SECONDS: Final = 1.0
ATTEMPTS: Final = 10
# A change waits for others, and for the disk.
CHANGE_SECONDS: Final = 30.0

T = TypeVar("T")


class UserStore(Protocol):
    """Where managed users are."""

    def read(self) -> ManagedUsers:
        """All of them, as they are now. Raises ConfigError, CoreError."""

    def change(self, change: Callable[[ManagedTables], T]) -> T:
        """Keep what `change` makes of them; it may be called again, and what it raises changes nothing.

        Raises ConfigError, OSError, CoreError.
        """


class LocalUsers:
    """Those of a file, for greenlets."""

    def __init__(self, file: ManagedUsersFile) -> None:
        self._file: Final = file
        self._threads: Final = ThreadGroup(1, "users")

    def read(self) -> ManagedUsers:
        return self._threads.call_within(CHANGE_SECONDS, self._file.read)

    def change(self, change: Callable[[ManagedTables], T]) -> T:
        def changed() -> T:
            with self._file.changing() as tables:
                return change(tables)

        return self._threads.call_within(CHANGE_SECONDS, changed)


class StoredUsers(Struct, frozen=True):
    """What the store keeps; etag "": nothing yet, so it is what the file holds."""

    managed: ManagedUsers
    etag: str


class SharedUsers:
    """Those that the store keeps, and the file that is their copy here."""

    def __init__(self, context: ProxyContext, file: ManagedUsersFile) -> None:
        self._objects: Final = context.objects
        self._containers: Final = context.containers
        self._lookup: Final = context.lookup
        self._clock: Final = context.runtime.clock
        self._file: Final = file
        self._threads: Final = ThreadGroup(1, "users")
        key = context.cluster.hasher.derived_key(KEY_PURPOSE)
        self._fernet: Final = Fernet(urlsafe_b64encode(key))
        self._policy: Final = next((each.index for each in context.cluster.policies if each.is_strong), None)

    def read(self) -> ManagedUsers:
        return self._stored().managed

    def change(self, change: Callable[[ManagedTables], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                with self.changing() as tables:
                    return change(tables)
            except PreconditionFailed:
                if attempt == ATTEMPTS - 1:
                    raise QuorumNotReached(PLACE) from None
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def changing(self) -> Iterator[ManagedTables]:
        """What the store keeps, which is written after the block. Raises PreconditionFailed if it changes meanwhile."""
        stored = self._stored()
        tables = ManagedTables.of(stored.managed)
        yield tables
        managed = replace(tables.managed, revision=stored.managed.revision + 1)
        self._store(managed, stored.etag)
        # The change is made: a copy that cannot be written here is the follower's to make, and to tell of.
        with suppress(ConfigError, OSError):
            self._threads.call_within(CHANGE_SECONDS, self._file.follow, managed)

    def etag(self) -> str:
        """Of what the store keeps now, "" of nothing: costs no more than a HEAD. Raises CoreError."""
        command = self._command()
        try:
            return "" if command is None else self._objects.head(command).etag
        except ObjectNotFound:
            return ""

    def follow(self) -> str:
        """Have the file hold what the store keeps; its ETag, "" of nothing. Raises ConfigError, OSError, CoreError."""
        stored = self._stored()
        if stored.etag:
            self._threads.call_within(CHANGE_SECONDS, self._file.follow, stored.managed)
        return stored.etag

    def _command(self) -> GetObject | None:
        """What reads it; None if there is not even a container. Raises CoreError."""
        info = self._lookup.container(PLACE.container_path, KEY_PURPOSE)
        if info.existence is ABSENT:
            return None
        if info.existence is not PRESENT:
            raise QuorumNotReached(PLACE)
        return GetObject(PLACE, info.policy_index, newest=True)

    def _stored(self) -> StoredUsers:
        command = self._command()
        try:
            if command is not None:
                with closing(self._objects.open(command)) as opened:
                    if opened.length is None or opened.length > FILE_BYTES_MAX:
                        raise QuorumNotReached(PLACE)
                    return StoredUsers(self._opened(whole(opened.body)), opened.info.etag)
        except ObjectNotFound:
            pass
        return StoredUsers(self._threads.call_within(CHANGE_SECONDS, self._file.read), "")

    def _opened(self, sealed: bytes) -> ManagedUsers:
        """Raises ConfigError."""
        try:
            content = zlib.decompressobj().decompress(self._fernet.decrypt(sealed), FILE_BYTES_MAX + 1)
        except (InvalidToken, zlib.error):
            raise ConfigError(str(PLACE), 0, "", "not sealed by this cluster") from None
        return MANAGED_FILE.decode(content, str(PLACE))

    def _store(self, managed: ManagedUsers, etag: str) -> None:
        """Raises ConfigError, CoreError, among them PreconditionFailed if the ETag is another one."""
        plain = MANAGED_FILE.encode(managed)
        content = self._fernet.encrypt(zlib.compress(plain))
        if max(len(plain), len(content)) > FILE_BYTES_MAX:
            raise ConfigError(str(PLACE), 0, "", f"would have more than {FILE_BYTES_MAX} bytes")
        index = made_on_demand(
            PLACE.container_path, self._lookup, self._containers, self._clock, KEY_PURPOSE, self._policy
        )
        conditions = WriteConditions(if_match=(etag,)) if etag else WriteConditions(if_absent=True)
        self._objects.put(
            PutObject(
                PLACE,
                index,
                self._clock.timestamp(),
                BytesBody(content),
                len(content),
                len(content),
                "application/octet-stream",
                conditions=conditions,
            )
        )


class UserFollower:
    """Keeps the file of this machine like what the store keeps; reports when it has replaced it."""

    def __init__(self, context: ProxyContext, recon: Recon) -> None:
        auth = context.config.auth
        self._users: Final = SharedUsers(context, ManagedUsersFile(auth.access_keys, auth.users))
        self._log: Final = context.runtime.log
        self._clock: Final = context.runtime.clock
        self._recon: Final = recon
        self.name = "user-follower"
        self._etag: str | None = None
        self._failing = False

    def step(self) -> Step:
        """What cannot be had now leaves the file as it is, and is logged once."""
        try:
            if self._users.etag() != self._etag:
                started, began = self._clock.now(), self._clock.monotonic()
                self._etag = self._users.follow()
                seconds = round(self._clock.monotonic() - began, 3)
                self._recon.report(self.name, started=started, ended=self._clock.now(), pass_seconds=seconds)
            self._failing = False
        except (ConfigError, OSError, CoreError) as error:
            if not self._failing:
                self._log.error("users cannot be read from the store, the copy here stays", reason=str(error))
            self._failing = True
        return Step.IDLE


def users_of(context: ProxyContext) -> UserStore:
    """Where the users of a proxy are kept."""
    auth = context.config.auth
    file = ManagedUsersFile(auth.access_keys, auth.users)
    return SharedUsers(context, file) if auth.shared_users else LocalUsers(file)
