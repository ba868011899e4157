"""The attributes of an image, and which values they may have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from objstore.errors import StoreError

DISK_FORMATS: Final = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS: Final = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
VISIBILITIES: Final = ("community", "public", "private", "shared")
MEMBER_STATUSES: Final = ("pending", "accepted", "rejected")
TEXT_MAX: Final = 255
VALUE_MAX: Final = 65_535
NUMBER_MAX: Final = 2**31 - 1

READ_ONLY: Final = frozenset(
    [
        "id",
        "status",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "size",
        "virtual_size",
        "created_at",
        "updated_at",
        "direct_url",
        "self",
        "file",
        "schema",
        "stores",
        "locations",
    ]
)
RESERVED: Final = frozenset({"location", "deleted", "deleted_at"})
RESERVED_PREFIX: Final = "os_glance_"


@dataclass(eq=False)
class BadValue(StoreError):
    """An attribute was given a value that it cannot have, or the request is malformed."""

    message: ClassVar[str] = "{reason}"

    reason: str


@dataclass(eq=False)
class NotChangeable(StoreError):
    """An attribute may not be set, or not by this caller."""

    message: ClassVar[str] = "Attribute '{name}' {reason}."

    name: str
    reason: str


@dataclass(eq=False)
class LimitExceeded(StoreError):
    """There would be more of something than the service allows."""

    message: ClassVar[str] = "There may be at most {limit} {what}."

    what: str
    limit: int


def _text_or_null(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= TEXT_MAX)


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= NUMBER_MAX


def _tags(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(tag, str) and 0 < len(tag) <= TEXT_MAX for tag in value)


# What may be written, and what tells a value that it may have.
WRITABLE: Final[dict[str, Callable[[object], bool]]] = {
    "name": _text_or_null,
    "visibility": lambda value: value in VISIBILITIES,
    "protected": lambda value: isinstance(value, bool),
    "os_hidden": lambda value: isinstance(value, bool),
    "owner": _text_or_null,
    "min_ram": _number,
    "min_disk": _number,
    "tags": _tags,
    "disk_format": lambda value: value is None or value in DISK_FORMATS,
    "container_format": lambda value: value is None or value in CONTAINER_FORMATS,
}
BASE: Final = READ_ONLY | WRITABLE.keys()


def checked(name: str, value: object) -> Any:
    """The value to keep for an attribute that a caller sets. Raises BadValue, NotChangeable."""
    if name in READ_ONLY:
        raise NotChangeable(name, "is read-only")
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise NotChangeable(name, "is reserved")
    if name in WRITABLE:
        if not WRITABLE[name](value):
            raise BadValue(f"Invalid value {value!r:.100} for '{name}'.")
        return sorted(set(value)) if name == "tags" and isinstance(value, list) else value
    if not 0 < len(name) <= TEXT_MAX:
        raise BadValue(f"A property needs a name of at most {TEXT_MAX} characters.")
    if not isinstance(value, str) or len(value.encode()) > VALUE_MAX:
        raise BadValue(f"The value of property '{name}' must be a text of at most {VALUE_MAX} bytes.")
    return value


@dataclass(frozen=True)
class ImageLimits:
    """How much of everything one image may have."""

    properties: int = 128
    tags: int = 128
    members: int = 128

    def check(self, attributes: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """Raises LimitExceeded if there is too much, and more than there was."""
        for what, limit, count in (
            ("properties", self.properties, _properties),
            ("tags", self.tags, lambda each: len(each.get("tags") or ())),
        ):
            if count(attributes) > max(limit, count(before)):
                raise LimitExceeded(what, limit)


def _properties(attributes: Mapping[str, Any]) -> int:
    return len(attributes.keys() - BASE)
