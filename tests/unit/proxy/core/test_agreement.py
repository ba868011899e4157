"""What is done about a strong write, decided from promises: held against all that a few nodes may have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.devices import Device
from objstore.proxy.core.agreement import Ballot, SentWrite, WriteStanding, judge
from objstore.proxy.core.backend.agreement import Prepared, missing_names, repairs

BEFORE, OURS, THEIRS = (f"170000000{number}.00000" for number in range(3))
NODES = [Device(number, 1, number, "10.0.0.1", 6200, "10.1.0.1", 6300, f"o{number}", 1.0) for number in range(5)]


def holding(number: int, newest: str, pushed: str = "") -> Prepared:
    return Prepared(NODES[number], f"{newest}.data" if newest else "-", newest, pushed, None)


@st.composite
def stories(draw: st.DrawFn) -> tuple[Ballot, SentWrite, int]:
    """Of 1 to 5 nodes each stored our write, refused it, or did not answer; some have something newer since.

    The promises of a quorum, our write, and how many have stored it.
    """
    count = draw(st.integers(1, 5))
    quorum = count - (count - 1) // 2
    stored = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    answered = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    replaced = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    granted = draw(st.permutations(range(count)))[: draw(st.integers(quorum, count))]
    held = [THEIRS if new else OURS if ours else BEFORE for new, ours in zip(replaced, stored, strict=True)]
    holders = frozenset(number for number in range(count) if stored[number] or not answered[number])
    ballot = Ballot([holding(number, held[number]) for number in granted], count, quorum, quorum)
    return ballot, SentWrite(OURS, holders), sum(stored)


@given(stories(), st.booleans())
def test_what_a_quorum_has_stored_is_never_stored_again(story: tuple[Ballot, SentWrite, int], on_state: bool) -> None:
    ballot, ours, stored = story
    found = judge(ballot, [ours], on_state)
    if stored >= ballot.quorum:
        assert found is not WriteStanding.OPEN
    if found is WriteStanding.DONE:
        assert ballot.newest == OURS
        assert sum(each.newest == OURS for each in ballot.granted) >= ballot.quorum


@given(stories())
def test_a_condition_is_never_decided_on_what_a_minority_has(story: tuple[Ballot, SentWrite, int]) -> None:
    ballot, _, _ = story
    if judge(ballot, [], True) is WriteStanding.OPEN:
        shared = ballot.shared
        assert shared is not None
        assert sum(each.state == shared.state for each in ballot.granted) >= ballot.quorum


def test_what_came_from_others_since_may_be_our_write() -> None:
    refused = SentWrite(OURS, frozenset())
    promises = [holding(number, THEIRS, pushed=OURS) for number in range(3)]
    assert judge(Ballot(promises, 3, 2, 2), [refused], False) is WriteStanding.UNKNOWN
    promises = [holding(number, THEIRS, pushed=BEFORE) for number in range(3)]
    assert judge(Ballot(promises, 3, 2, 2), [refused], False) is WriteStanding.OPEN


def test_a_write_needs_no_state_that_a_quorum_has_unless_it_depends_on_it() -> None:
    promises = [holding(0, BEFORE), holding(1, THEIRS)]
    assert judge(Ballot(promises, 3, 2, 2), [], False) is WriteStanding.OPEN
    assert judge(Ballot(promises, 3, 2, 2), [], True) is WriteStanding.REPAIR


def test_a_write_is_not_done_in_as_few_fragments_as_give_it() -> None:
    ours = SentWrite(OURS, frozenset())
    held = [Prepared(NODES[number], f"{OURS}##d.data", OURS, "", None) for number in range(5)]
    others = [holding(number, BEFORE) for number in (3, 4)]
    assert judge(Ballot([*held[:3], *others], 5, 4, 3), [ours], True) is WriteStanding.AGAIN
    assert judge(Ballot(held[:4], 5, 4, 3), [ours], True) is WriteStanding.DONE
    whole = [holding(number, OURS) for number in range(3)]
    assert judge(Ballot([*whole, *others], 5, 4, 3), [ours], True) is WriteStanding.DONE


def test_only_what_counts_is_pushed() -> None:
    plain = f"{BEFORE}.data", f"{OURS}.data", f"{THEIRS}.meta"
    assert missing_names(plain[1], plain[0]) == [plain[1]]
    assert missing_names(plain[0], plain[1]) == [], "it is replaced there"
    assert missing_names(f"{plain[0]},{plain[2]}", plain[1]) == [plain[2]]
    assert missing_names(f"{BEFORE}!.data", plain[1]) == [f"{BEFORE}!.data"], "nothing newer replaces a kept version"
    assert missing_names(plain[0], "-") == [plain[0]]
    assert missing_names("-", plain[0]) == []


def test_a_device_is_pushed_to_where_it_takes_versions_of_others() -> None:
    ((source, order),) = repairs([holding(0, OURS), holding(1, BEFORE)])
    assert source == NODES[0]
    assert b'"10.1.0.1:6300"' in order
    assert b'"o1"' in order
