"""What is to be done about an entry of the expirer's queue."""

from __future__ import annotations

import pytest

from objstore.devices import Device
from objstore.direct import NodeResponse
from objstore.object.expirer import Action, decide, parse_entry
from objstore.paths import ResourcePath
from objstore.timestamps import Timestamp

NODE = Device(0, 1, 1, "10.0.0.1", 6200, "10.0.0.1", 6200, "sda", 1.0)
QUEUE = ResourcePath(".expiring_objects", "1699999999")
DUE = 1_700_000_000
WRITTEN = Timestamp((DUE - 100) * 100_000)
ENTRY = parse_entry(QUEUE, {"name": f"{DUE}-a/c/o/p", "last_modified": WRITTEN.isoformat})
WEEK = 7 * 86_400.0


def at(seconds_before_due: int) -> str:
    return Timestamp((DUE - seconds_before_due) * 100_000).internal


def holds(written: int = 100, due: int | None = DUE, posted: int | None = None, expired: bool = True) -> NodeResponse:
    """A server that has the object, as written so many seconds before DUE."""
    headers = {
        "X-Backend-Data-Timestamp": at(written),
        "X-Backend-Timestamp": at(written if posted is None else posted),
    }
    if due is not None:
        headers["X-Delete-At"] = str(due)
        if expired:
            headers["X-Backend-Expired"] = "true"
    return NodeResponse(NODE, 200, headers)


def gone(deleted: int | None = None) -> NodeResponse:
    return NodeResponse(NODE, 404, {} if deleted is None else {"X-Backend-Timestamp": at(deleted)})


SILENT = NodeResponse(NODE, 503, {})


def action(*replies: NodeResponse, now: float = DUE + 10) -> Action:
    assert ENTRY is not None
    return decide(ENTRY, replies, now, WEEK).action


def test_an_entry_is_read_from_the_listing() -> None:
    assert ENTRY is not None
    assert (ENTRY.path, ENTRY.due, ENTRY.timestamp) == (ResourcePath("a", "c", "o/p"), DUE, WRITTEN)
    assert ENTRY.removed_row.timestamp > WRITTEN.internal
    assert ENTRY.removed_row.timestamp < Timestamp(WRITTEN.ticks + 1).internal


@pytest.mark.parametrize("name", ["", "x", "17-a", "17-a/c", "x-a/c/o", "17-a//o", "12345678901-a/c/o"])
def test_what_is_no_entry(name: str) -> None:
    assert parse_entry(QUEUE, {"name": name, "last_modified": WRITTEN.isoformat}) is None


def test_all_agree_that_it_has_expired() -> None:
    assert ENTRY is not None
    verdict = decide(ENTRY, [holds(), holds(), gone()], DUE + 10, WEEK)
    assert verdict.action is Action.DELETE
    assert verdict.timestamp == at(0)


def test_a_tombstone_is_newer_than_data_of_a_clock_that_is_ahead() -> None:
    assert ENTRY is not None
    verdict = decide(ENTRY, [holds(-50)], DUE + 10, WEEK)
    assert verdict.timestamp == at(-50) + "_0000000000000001"


def test_expiry_with_skewed_clocks() -> None:
    # The expirer's clock says that it is over, and so do some servers; one of those that hold it disagrees.
    assert action(holds(), holds(expired=False), holds()) is Action.WAIT
    # A newer time to expire is on one server alone, and the entry is the older one's: nothing is deleted.
    later = holds(posted=50, due=DUE + 3600, expired=False)
    assert action(holds(), later, holds()) is Action.DROP
    # The same when that server's clock is ahead and finds the newer time over as well.
    assert action(holds(), holds(posted=50, due=DUE + 3600), holds()) is Action.DROP
    # And when the newer write does not expire at all.
    assert action(holds(), holds(written=20, due=None), holds()) is Action.DROP
    # A server that holds an older version may find it expired or not: it is not the one that counts.
    assert action(holds(), holds(written=200, due=DUE - 50, expired=False), holds()) is Action.DELETE


def test_one_that_does_not_answer_may_know_better() -> None:
    assert action(holds(), holds(), SILENT) is Action.WAIT
    assert action(holds(), holds(), SILENT, now=DUE + 2 * WEEK) is Action.WAIT


def test_deleted_since() -> None:
    assert action(holds(), gone(50), gone(50)) is Action.DROP


def test_what_the_entry_is_of_may_come_yet() -> None:
    assert action(gone(), gone(), gone()) is Action.WAIT
    assert action(holds(200, due=None), gone(), gone()) is Action.WAIT
    assert action(gone(200), gone(), gone()) is Action.WAIT
    assert action(gone(), gone(), gone(), now=DUE + WEEK + 1) is Action.DROP
