"""Multipart uploads as they are stored: how their records and parts are named.

The uploads of a container lie in a hidden container of the same account. A record stands there exactly as long as its
upload is open. Each part that was sent is an object, also of a number that was sent again: parts are never written
over, so a manifest goes on naming exactly what it was made of.

    record/KEY NUL UPLOAD                  the record
    part/KEY NUL UPLOAD NUL NUMBER NUL ID  a part; of several with one number the one with the greatest id counts

NUL sorts before everything else: uploads are listed in the order of their keys, then in that of their beginning.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec
from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp

PARTS_MAX: Final = 10_000

_HIDDEN: Final = "\0uploads\0"
_RECORDS: Final = "record/"
PARTS_FOLDER: Final = "part/"
_BEHIND_NUL: Final = "\x01"
_BEHIND_ALL: Final = "\U0010ffff"
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch
_RANDOM_BITS: Final = 76  # nineteen of the digits of an id; thirteen are its moment


class UploadName(Struct, frozen=True, order=True):
    """An upload within its container."""

    key: str
    upload: str

    @property
    def record(self) -> str:
        return f"{_RECORDS}{self.key}\0{self.upload}"

    @property
    def parts(self) -> str:
        """The prefix of its parts."""
        return f"{PARTS_FOLDER}{self.key}\0{self.upload}\0"

    @property
    def behind_parts(self) -> str:
        """A name behind all its parts, and before those of others."""
        return f"{PARTS_FOLDER}{self.key}\0{self.upload}{_BEHIND_NUL}"

    def part(self, number: int, part_id: str) -> str:
        return f"{self.parts}{number:05d}\0{part_id}"

    def after(self, number: int) -> str:
        """A name behind all parts up to this number, and before all others."""
        return f"{self.parts}{number:05d}{_BEHIND_NUL}"


def records_prefix(prefix: str) -> str:
    """The prefix of the records whose keys begin so."""
    return f"{_RECORDS}{prefix}"


def records_after(key: str, upload: str) -> str:
    """A name behind the record of this upload, or behind all records of the key if there is no upload."""
    return f"{_RECORDS}{key}\0{upload}" if upload else f"{_RECORDS}{key}{_BEHIND_NUL}"


def records_behind(prefix: str) -> str:
    """A name behind the records of all keys that begin so."""
    return f"{_RECORDS}{prefix}{_BEHIND_ALL}"


def name_of(stored: str) -> UploadName | None:
    """To which upload an object of a hidden container belongs; None if it is no record and no part."""
    kind, _, rest = stored.partition("/")
    fields = rest.rsplit("\0", 1 if kind == "record" else 3)
    if len(fields) != {"record": 2, "part": 4}.get(kind) or not is_id(fields[1]):
        return None
    return UploadName(fields[0], fields[1])


def part_number(stored: str) -> int:
    """The number of a part, by its name. Raises ValueError."""
    return int(stored.rsplit("\0", 2)[1])


def hidden_container(path: ResourcePath) -> ResourcePath:
    """The container that holds the uploads of the container which `path` names or lies in."""
    return ResourcePath(path.account, f"{_HIDDEN}{path.container}")


def container_of(hidden: ResourcePath) -> ResourcePath | None:
    """The inverse of `hidden_container`; None if it is no such container."""
    name = hidden.container.removeprefix(_HIDDEN)
    return None if name == hidden.container or not name else ResourcePath(hidden.account, name)


def is_hidden(path: ResourcePath) -> bool:
    """Whether a path is of such a container, or lies in one: only the store itself can name it."""
    return path.container.startswith(_HIDDEN)


def new_id(timestamp: Timestamp, random_bits: int) -> str:
    """The id of an upload, or of a part: unlike any other, and greater than older ones."""
    return f"{timestamp.ticks:013x}{random_bits % (1 << _RANDOM_BITS):019x}"


def is_id(text: str) -> bool:
    return _ID(text) is not None


def begun_at(upload: str) -> Timestamp:
    """When an upload was begun, or a part."""
    return Timestamp(int(upload[:13], 16))


class _NamedPart(Struct):
    """What of a part in a stored manifest says where it lies."""

    name: str = ""


class _SealedManifest(Struct):
    """A stored manifest that is encrypted but for the names of its parts."""

    parts: list[_NamedPart]


_manifest: Final = msgspec.json.Decoder(list[_NamedPart] | _SealedManifest)


def named_parts(manifest: bytes, hidden: ResourcePath) -> set[str]:
    """The names of the objects of a hidden container that a stored manifest names. Raises ValueError."""
    folder = f"/{hidden.container}/"
    try:
        found = _manifest.decode(manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a manifest: {error}") from None
    parts = found.parts if isinstance(found, _SealedManifest) else found
    return {part.name.removeprefix(folder) for part in parts if part.name.startswith(folder)}
