"""Descriptions of accounts, containers and objects."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from objstore.object_lock import LOCK_HOLD, LOCK_RETENTION, DefaultRetention, ObjectLock, stored_default, stored_lock

if TYPE_CHECKING:
    from objstore.config.proxy import ReadOnlyConfig
    from objstore.proxy.core.encryption.envelope import Seal


class Existence(IntEnum):
    UNKNOWN = 0  # too few servers answered
    PRESENT = 1
    ABSENT = 2
    DELETED = 3  # an account whose content is still being removed


PRESENT: Final = Existence.PRESENT
ABSENT: Final = Existence.ABSENT
DELETED: Final = Existence.DELETED
UNKNOWN: Final = Existence.UNKNOWN


# In the system metadata of containers: how new objects are encrypted, "-" for not at all; see encryption/settings.py.
ENCRYPTION: Final = "Encryption"
READ_ONLY: Final = "Read-Only"  # in that of accounts: "true" or "false"
VERSIONS_ENABLED: Final = "Versions-Enabled"
# Versions can be locked, and so they are kept for good: LOCKABLE, or the default retention.
OBJECT_LOCK: Final = "Object-Lock"
LOCKABLE: Final = "true"
_VERSIONING: Final = {"true": "enabled", "false": "suspended"}
_VERSION_MODES: Final = {"true": "keep", "false": "null"}


class AccountInfo(Struct, frozen=True):
    """An account as its servers describe it. Counts lag behind the truth; sizes are in bytes.

    `metadata` is what clients attach and `sysmeta` what edges keep for themselves, by names in Title-Case:
    "Temp-Url-Key", "Quota-Bytes". `created_at` is in the normal form of timestamps, `last_modified` an HTTP date.
    """

    existence: Existence
    container_count: int = 0
    object_count: int = 0
    bytes_used: int = 0
    metadata: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    policy_stats: dict[int, PolicyStats] = {}  # by index
    created_at: str = ""
    last_modified: str = ""


class ContainerInfo(Struct, frozen=True):
    """A container as its servers describe it; see AccountInfo. Access lists are in the spelling of their edge."""

    existence: Existence
    policy_index: int = 0
    read_acl: str | None = None
    write_acl: str | None = None
    sync_to: str | None = None
    sync_key: str | None = None
    object_count: int = 0
    bytes_used: int = 0
    metadata: dict[str, str] = {}
    sysmeta: dict[str, str] = {}
    created_at: str = ""
    last_modified: str = ""  # as an HTTP date
    version_count: int = 0  # beside the current objects: older versions, and delete markers

    @property
    def versioning(self) -> str:
        """Whether writes make versions: "enabled", "suspended", or "" if they never did."""
        return _VERSIONING.get(self._versions_enabled, "") if self.sysmeta else ""

    @property
    def version_mode(self) -> str:
        """How commands write here: "keep", "null" or ""."""
        return _VERSION_MODES.get(self._versions_enabled, "") if self.sysmeta else ""

    @property
    def _versions_enabled(self) -> str:
        return "true" if self.is_lockable else self.sysmeta.get(VERSIONS_ENABLED, "")

    @property
    def is_lockable(self) -> bool:
        """Whether versions can be locked here; that is so for good."""
        return bool(self.sysmeta) and bool(self.sysmeta.get(OBJECT_LOCK))

    @property
    def default_retention(self) -> DefaultRetention | None:
        """That of new versions."""
        return stored_default(self.sysmeta.get(OBJECT_LOCK, "")) if self.sysmeta else None

    def default_lock(self, now: float) -> dict[str, str]:
        """The transient metadata that locks a version made now."""
        default = self.default_retention
        return {} if default is None else {LOCK_RETENTION: default.since(now).stored}

    def newly_locked(self, metadata: StoredMetadata, now: float) -> StoredMetadata:
        """What is stored with a version made now: it has no lock of what it is a copy of, but the default one."""
        kept = {name: value for name, value in metadata.transient.items() if name not in (LOCK_RETENTION, LOCK_HOLD)}
        locked = kept | self.default_lock(now)
        return metadata if locked == metadata.transient else replace(metadata, transient=locked)


def is_read_only(config: ReadOnlyConfig, account: AccountInfo) -> bool:
    """Whether nothing of an account is written. Its own setting stands above the store's."""
    chosen = account.sysmeta.get(READ_ONLY)
    return config.enabled and (chosen == "true" if chosen else config.store)


class PolicyStats(Struct, frozen=True):
    """What an account holds under one storage policy; bytes in all."""

    containers: int = 0
    objects: int = 0
    bytes: int = 0


class StoredMetadata(Struct, frozen=True):
    """The metadata of an object, by name.

    user: what clients attach. system: what an edge keeps with the data. transient: what an edge keeps until the next
    POST. given: what is given back with the body as it came, such as the encoding and the language of the content.
    is_sealed: it is of an encrypted object, so a POST has to store it encrypted, too.
    """

    user: dict[str, str] = {}
    system: dict[str, str] = {}
    transient: dict[str, str] = {}
    given: dict[str, str] = {}
    is_sealed: bool = False

    @property
    def lock(self) -> ObjectLock:
        """What protects the version."""
        return stored_lock(self.transient.get(LOCK_RETENTION), self.transient.get(LOCK_HOLD))


NO_METADATA: Final = StoredMetadata()


class StoredObjectInfo(Struct, frozen=True):
    """An object as its servers describe it. `size` is of the whole object, `timestamp` in its normal form.

    stands_for_others: it is a link or a manifest, and readers want other objects. version: the internal timestamp of a
    version that is kept, "" of the plain line. seal: of an encrypted object, how it is.
    """

    size: int
    etag: str
    content_type: str
    timestamp: str
    last_modified: str  # as an HTTP date
    delete_at: int | None = None  # seconds since the epoch
    metadata: StoredMetadata = NO_METADATA
    stands_for_others: bool = False
    version: str = ""
    seal: Seal | None = None
