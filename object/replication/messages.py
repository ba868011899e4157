"""The REPLICATE requests that object servers send to each other, and the bodies of requests and responses.

The `step` of the query says what is asked, X-Backend-Storage-Policy-Index of which policy:

`compare`   /DEVICE/0/.replication: CompareRequests for many partitions; answered with as many CompareResponses, JSON.
`versions`  /DEVICE/PARTITION/.replication: a list of suffixes; answered with the files of each hash in them, JSON,
            and in X-Backend-Device-Note with the device's ContactRecord, JSON, if it has one.
`push`      the same path: frames (see `frames`); answered with a TransferResult for each, JSON.
`pull`      the same path: the files wanted, by hash; answered with frames.
`confirm`   the same path: files by hash that the sender, a handoff, wants to remove; answered with those
            that are held here, durably. 409 if the server is no primary of the partition by its own ring, or has
            a newer ring than the sender.

All are answered with 409 where the ring has another part power than the sender's: its partitions are other ones.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from objstore.contact_record import ContactRecord
from objstore.http.errors import HttpError

METHOD: Final = "REPLICATE"
# Partitions hold objects of many accounts: the path names none.
ACCOUNT: Final = ".replication"
RING_VERSION: Final = "X-Backend-Ring-Version"
PART_POWER: Final = "X-Backend-Part-Power"
OBJECTS: Final = "objects"  # the kind in a device's note of when it was in touch
CONTACT_RECORD: Final = "X-Backend-Device-Note"
PARTITIONS_MAX: Final = 1000
SUFFIXES_MAX: Final = 4096
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024
# Names in one answer about several suffixes: beyond this (413) fewer suffixes are asked about at a time.
NAMES_MAX: Final = 500_000
# Files of one push or pull: what is on its way when something breaks off.
FILES_MAX: Final = 1000

Names = dict[str, list[str]]  # of files, by hash


class ReplicationStep(Enum):
    """The steps, as they stand in the query."""

    COMPARE = "compare"
    VERSIONS = "versions"
    PUSH = "push"
    PULL = "pull"
    CONFIRM = "confirm"


class CompareRequest(Struct, frozen=True, gc=False):
    """A partition and the digest of all it holds."""

    partition: int
    digest: str


class CompareResponse(Struct, frozen=True):
    """Digests by suffix; None when the digest of the whole is the same."""

    suffixes: dict[str, str] | None = None


class Versions(Struct, frozen=True):
    """Files of a device, and its note, None if it has none."""

    names: Names
    note: ContactRecord | None = None


class TransferResult(Enum):
    STORED = "stored"
    NEWER = "newer"  # what is here makes it obsolete
    FAILED = "failed"
    FULL = "full"  # the device has no room for it


encode: Final = msgspec.json.Encoder().encode
COMPARE_REQUESTS: Final = msgspec.json.Decoder(list[CompareRequest])
COMPARE_RESPONSES: Final = msgspec.json.Decoder(list[CompareResponse])
SUFFIXES: Final = msgspec.json.Decoder(list[str])
NAMES: Final = msgspec.json.Decoder(Names)
CONTACT_RECORDS: Final = msgspec.json.Decoder(ContactRecord)
TRANSFER_RESULTS: Final = msgspec.json.Decoder(list[TransferResult])

Message = TypeVar("Message")


def decode(decoder: msgspec.json.Decoder[Message], body: bytes) -> Message:
    """Raises HttpError 400 on anything else."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HttpError(400, f"Bad message: {error}") from None
