"""What object servers say to each other: the bodies of REPLICATE requests and answers.

The `step` of the query says what is asked, X-Backend-Storage-Policy-Index of which policy:

`compare`   /DEVICE/0/.replication: a Question for each of many partitions; answered with as many Answers, JSON.
`versions`  /DEVICE/PARTITION/.replication: a list of suffixes; answered with the files of each hash in them, JSON,
            and in X-Backend-Device-Note with the device's Note, JSON, if it has one.
`push`      the same path: frames (see `frames`); answered with an Outcome for each, JSON.
`pull`      the same path: the files wanted, by hash; answered with frames.
`confirm`   the same path: files by hash that the sender, who is no primary, wants to remove; answered with those
            that are held here, durably. 409 if the server is no primary of the partition by its own ring, or has
            a newer ring than the sender.

All are answered with 409 where the ring has another part power than the sender's: its partitions are other ones.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from objstore.http.errors import HttpError
from objstore.notes import Note

METHOD: Final = "REPLICATE"
# Partitions hold objects of many accounts: the path names none.
ACCOUNT: Final = ".replication"
RING_VERSION: Final = "X-Backend-Ring-Version"
PART_POWER: Final = "X-Backend-Part-Power"
NOTED: Final = "objects"  # the kind in a device's note of when it was in touch
DEVICE_NOTE: Final = "X-Backend-Device-Note"
PARTITIONS_MAX: Final = 1000
SUFFIXES_MAX: Final = 4096
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
# Files of one push or pull: what is on its way when something breaks off.
FILES_MAX: Final = 1000

Names = dict[str, list[str]]  # of files, by hash


class Kind(Enum):
    """The steps, as they stand in the query."""

    COMPARE = "compare"
    VERSIONS = "versions"
    PUSH = "push"
    PULL = "pull"
    CONFIRM = "confirm"


class Question(Struct, frozen=True, gc=False):
    """A partition and the digest of all it holds."""

    partition: int
    digest: str


class Answer(Struct, frozen=True):
    """Digests by suffix; None when the digest of the whole is the same."""

    suffixes: dict[str, str] | None = None


class Versions(Struct, frozen=True):
    """Files of a device, and its note, None if it has none."""

    names: Names
    note: Note | None = None


class Outcome(Enum):
    """What became of a pushed file."""

    STORED = "stored"
    NEWER = "newer"  # what is here makes it obsolete
    FAILED = "failed"
    FULL = "full"  # the device has no room for it


encode: Final = msgspec.json.Encoder().encode
QUESTIONS: Final = msgspec.json.Decoder(list[Question])
ANSWERS: Final = msgspec.json.Decoder(list[Answer])
SUFFIXES: Final = msgspec.json.Decoder(list[str])
NAMES: Final = msgspec.json.Decoder(Names)
NOTES: Final = msgspec.json.Decoder(Note)
OUTCOMES: Final = msgspec.json.Decoder(list[Outcome])

Message = TypeVar("Message")


def decode(decoder: msgspec.json.Decoder[Message], body: bytes) -> Message:
    """Raises HttpError 400 on anything else."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(400, f"Bad message: {error}") from None
