"""The outbox: events that wait for delivery to webhooks, as rows of containers of the store's own account.

Each webhook has a container, `.s3/events-NAME`. A row is one event for it: its name begins with the time at which the
write began, so a listing gives the events in that order, and its content type carries the entry. A proxy makes the row
before it carries the write out, as an intent, and settles it when the write is done, or withdraws it. See
docs/decisions/0020-notifications.md.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from objstore.paths import ResourcePath
from objstore.rows import EMPTY_ETAG, ObjectRow
from objstore.timestamps import OFFSET_MAX, Timestamp

ACCOUNT: Final = ".s3"
_PREFIX: Final = "events-"
_TYPE: Final = "application/x-event."
# Decoded; a key, and what a request says of itself, are far shorter.
ENTRY_BYTES_MAX: Final = 64 * 1024


class OutboxEntry(Struct, frozen=True, omit_defaults=True):
    """An event for one webhook.

    message: what is sent, as JSON. is_settled: the write is done; without, it may be on its way, or have failed.
    path: the object that the write is about, as /account/container/object, of policy `policy_index`. shows: whether
    the object's newest timestamp tells that a write was done after the row was made.
    """

    message: dict[str, Any]
    path: str = ""
    policy_index: int = 0
    is_settled: bool = False
    shows: bool = False


_decoder: Final = msgspec.json.Decoder(OutboxEntry)


def outbox_of(webhook: str) -> ResourcePath:
    """The container of the events for a webhook."""
    return ResourcePath(ACCOUNT, _PREFIX + webhook)


def entry_name(begun: Timestamp, nonce: int) -> str:
    """The name of the row of a write that begins now; `nonce` has 64 bits."""
    return f"{begun.normal}-{nonce:016x}"


def begun_at(name: str) -> Timestamp:
    """When the write began whose row has this name. Raises ValueError."""
    return Timestamp.parse(name.partition("-")[0])


def entry_row(name: str, timestamp: Timestamp, entry: OutboxEntry) -> ObjectRow:
    """The row, as it is from `timestamp` on."""
    text = urlsafe_b64encode(zlib.compress(msgspec.json.encode(entry))).decode()
    return ObjectRow(name, timestamp.internal, 0, _TYPE + text, EMPTY_ETAG)


def entry_of(listed: Mapping[str, Any]) -> OutboxEntry:
    """The entry of a row of the listing. Raises ValueError if it is none."""
    text = str(listed.get("content_type", ""))
    if not text.startswith(_TYPE):
        raise ValueError("not an event")
    try:
        content = zlib.decompressobj().decompress(urlsafe_b64decode(text[len(_TYPE) :]), ENTRY_BYTES_MAX)
        return _decoder.decode(content)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(str(error)) from None


def removal_row(name: str, timestamp: Timestamp) -> ObjectRow:
    """Takes out the row as it was written at this timestamp, whatever its offset, and not what is written later."""
    moment = Timestamp(timestamp.ticks, OFFSET_MAX).internal
    return ObjectRow(name, moment, 0, "application/deleted", "noetag", deleted=True)


def with_facts(message: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """The message, saying of the object of each record what a write has made: size, eTag, versionId, sequencer."""
    if not facts:
        return message
    records = []
    for made in message.get("Records", ()):
        of_object = {**made["s3"]["object"], **facts}
        records.append({**made, "s3": {**made["s3"], "object": of_object}})
    return {**message, "Records": records}


def sequencer(timestamp: Timestamp) -> str:
    """By which the events of one key are ordered: hexadecimal digits, always as many."""
    return f"{timestamp.ticks:016X}{timestamp.offset:016X}"
