"""Multipart uploads as they are stored: how records and parts are named, and which states an upload goes through.

The uploads of a container lie in a hidden container of the same account. For each upload there is one record, and one
object for each part that was sent, also for a number that was sent again: parts are never written over, so a manifest
goes on naming exactly what it was made of.

    record/KEY NUL UPLOAD                  the record; its content type is a RecordSummary
    part/KEY NUL UPLOAD NUL NUMBER NUL ID  a part; of several with one number the one with the greatest id counts

NUL sorts before everything else: uploads are listed in the order of their keys, then in that of their beginning.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

import msgspec
from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp

PARTS_MAX: Final = 10_000
# What a completion may take from the moment the record says so until the manifest is stored. Beyond it, it is refused.
COMPLETION_SECONDS: Final = 60.0

_HIDDEN: Final = "\0uploads\0"
_RECORDS: Final = "record/"
_PARTS: Final = "part/"
_BEHIND_NUL: Final = "\x01"
_ID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII).fullmatch
_RANDOM_BITS: Final = 76  # nineteen of the digits of an id; thirteen are its moment
_CONTENT_TYPE: Final = "application/x-upload"


class UploadState(Enum):
    """What the record of an upload says."""

    OPEN = "open"
    COMPLETING = "completing"  # a manifest may be written at any moment of COMPLETION_SECONDS
    COMPLETED = "completed"  # the manifest is stored: the record stays until all its servers have it
    ABORTED = "aborted"


class UploadEvent(Enum):
    PUT_PART = "put part"
    COMPLETE = "complete"
    REFUSED = "refused"  # nothing was stored, and the client may try again
    STORED = "stored"
    ABORT = "abort"


TRANSITIONS: Final = {
    (UploadState.OPEN, UploadEvent.PUT_PART): UploadState.OPEN,
    (UploadState.OPEN, UploadEvent.COMPLETE): UploadState.COMPLETING,
    (UploadState.OPEN, UploadEvent.ABORT): UploadState.ABORTED,
    (UploadState.COMPLETING, UploadEvent.COMPLETE): UploadState.COMPLETING,
    (UploadState.COMPLETING, UploadEvent.REFUSED): UploadState.OPEN,
    (UploadState.COMPLETING, UploadEvent.STORED): UploadState.COMPLETED,
    (UploadState.COMPLETING, UploadEvent.ABORT): UploadState.ABORTED,
}


class RecordSummary(Struct, frozen=True, omit_defaults=True):
    """What a record tells without its body, in the form of a content type, which listings show too.

    manifest: the timestamp of the stored manifest, and kept: it is a version that is kept.
    attempted: there was a completion whose outcome is not known: its manifest may yet turn up.
    """

    state: UploadState
    manifest: str = ""
    kept: bool = False
    attempted: bool = False

    @property
    def content_type(self) -> str:
        return f"{_CONTENT_TYPE};{_encode(self).decode()}"

    @classmethod
    def parse(cls, content_type: str) -> RecordSummary:
        """The inverse of `content_type`. Raises ValueError."""
        kind, _, text = content_type.partition(";")
        try:
            if kind == _CONTENT_TYPE:
                return _decode(text)
        except msgspec.DecodeError:
            pass
        raise ValueError(f"not the record of an upload: {content_type!r}")


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(RecordSummary).decode


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
        return f"{_PARTS}{self.key}\0{self.upload}\0"

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


def name_of(stored: str) -> UploadName | None:
    """To which upload an object of a hidden container belongs; None if it is no record and no part."""
    kind, _, rest = stored.partition("/")
    fields = rest.rsplit("\0", 1 if kind == "record" else 3)
    if len(fields) != {"record": 2, "part": 4}.get(kind) or not is_id(fields[1]):
        return None
    return UploadName(fields[0], fields[1])


def is_record(stored: str) -> bool:
    return stored.startswith(_RECORDS)


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


_manifest: Final = msgspec.json.Decoder(list[_NamedPart])


def named_parts(manifest: bytes, hidden: ResourcePath) -> set[str]:
    """The names of the parts in a hidden container that a stored manifest names. Raises ValueError."""
    folder = f"/{hidden.container}/"
    try:
        parts = _manifest.decode(manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a manifest: {error}") from None
    return {part.name.removeprefix(folder) for part in parts if part.name.startswith(folder)}
