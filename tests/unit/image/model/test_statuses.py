"""Which status may follow which."""

from __future__ import annotations

from itertools import product

import pytest

from objstore.image.model.statuses import HAS_DATA, TRANSITIONS, UNDER_WAY, WrongStatus, check_transition


def test_what_is_deleted_stays_so() -> None:
    for wanted in TRANSITIONS:
        with pytest.raises(WrongStatus, match="deleted cannot become"):
            check_transition("deleted", wanted)


def test_everything_can_be_deleted() -> None:
    for status in TRANSITIONS.keys() - {"deleted"}:
        check_transition(status, "deleted")


def test_cve_2015_5251_an_image_with_data_never_takes_other_data() -> None:
    """Nobody who has read and checked an image may find other bytes under its id."""
    reachable = set(HAS_DATA)
    for _ in TRANSITIONS:
        reachable |= {after for status in reachable for after in TRANSITIONS[status]}
    assert reachable == {*HAS_DATA, "deleted"}


def test_cve_2016_0757_only_bytes_make_an_image_active() -> None:
    assert {status for status in TRANSITIONS if "active" in TRANSITIONS[status]} == UNDER_WAY | HAS_DATA


def test_what_failed_can_be_tried_again() -> None:
    for status, wanted in product(UNDER_WAY, ["queued"]):
        check_transition(status, wanted)
