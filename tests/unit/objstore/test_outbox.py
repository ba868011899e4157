"""Rows of the outbox: what is put in comes out, and a later row of one event replaces an earlier one."""

from __future__ import annotations

import pytest

from objstore.outbox import OutboxEntry, begun_at, entry_name, entry_of, entry_row, removal_row, sequencer, with_facts
from objstore.rows import merge_object_rows
from objstore.timestamps import Timestamp

BEGUN = Timestamp(170_000_000_000_000)
MESSAGE = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "k; swift_bytes=5"}}}]}
ENTRY = OutboxEntry(MESSAGE, "/AUTH_a/c/ü", 3, shows=True)


def test_an_entry_comes_back() -> None:
    row = entry_row(entry_name(BEGUN, 7), BEGUN, ENTRY)
    assert begun_at(row.name) == BEGUN
    assert entry_of({"content_type": row.content_type}) == ENTRY
    assert ";" not in row.content_type


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-event.", "application/x-event.eJw=", ""])
def test_what_is_no_entry(content_type: str) -> None:
    with pytest.raises(ValueError):
        entry_of({"content_type": content_type})


def test_names_are_in_the_order_of_time() -> None:
    names = [entry_name(Timestamp(BEGUN.ticks + ticks), 2**64 - 1 - ticks) for ticks in range(3)]
    assert names == sorted(names)


def test_what_was_written_last_counts() -> None:
    name, later = entry_name(BEGUN, 7), Timestamp(BEGUN.ticks + 5)
    intent, settled = entry_row(name, BEGUN, ENTRY), entry_row(name, later, OutboxEntry(MESSAGE, is_settled=True))
    assert merge_object_rows(intent, settled) == merge_object_rows(settled, intent) == settled
    # The removal of what was read takes out that, and not what was settled meanwhile.
    assert merge_object_rows(removal_row(name, BEGUN), intent).deleted
    assert merge_object_rows(removal_row(name, BEGUN), settled) == settled
    assert merge_object_rows(removal_row(name, later), settled).deleted


def test_facts_are_of_the_object() -> None:
    told = with_facts(MESSAGE, {"size": 1})
    assert told["Records"][0]["s3"]["object"] == {"key": "k; swift_bytes=5", "size": 1}
    assert with_facts({"Event": "s3:TestEvent"}, {}) == {"Event": "s3:TestEvent"}
    assert sequencer(BEGUN) < sequencer(Timestamp(BEGUN.ticks, 1)) < sequencer(Timestamp(BEGUN.ticks + 1))
