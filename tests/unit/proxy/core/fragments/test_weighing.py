"""Which writes count, by what devices say: what was acknowledged is found, and what was read once is read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.core.fragments.weighing import PendingWrite, Quorums, Weighed, survivors, weigh

FOUR_TWO = Quorums(voters=6, write=5, majority=4, data=4)
NUMBERS = {device: device for device in range(6)}
OLD, NEW, NEWER = "1000000001.00000", "1000000002.00000", "1000000003.00000"
DURABLE, PENDING = f"{OLD}##d.data", f"{NEW}#.data"
BOTH = frozenset({DURABLE, PENDING})
BEFORE = frozenset({DURABLE})
WRITE = PendingWrite(NEW, "")


def weighed(*states: frozenset[str], quorums: Quorums = FOUR_TWO) -> Weighed:
    return weigh(dict(enumerate(states)), NUMBERS, quorums.voters - len(states), quorums)


def test_where_nothing_is_pending_there_is_nothing_to_weigh() -> None:
    assert weighed(*[BEFORE] * 4) == Weighed()


def test_what_enough_devices_have_is_committed() -> None:
    assert weighed(*[BOTH] * 4) == Weighed((WRITE,))
    assert weighed(*[BOTH] * 4, BEFORE, BEFORE) == Weighed((WRITE,))


def test_what_cannot_have_been_acknowledged_says_nothing() -> None:
    assert weighed(BOTH, BOTH, BEFORE, BEFORE) == Weighed(void=frozenset({PENDING}))  # 2 and two unheard are 4 of 5
    assert weighed(BOTH, BOTH, BOTH, BEFORE, BEFORE, BEFORE) == Weighed(void=frozenset({PENDING}))


def test_what_may_have_been_acknowledged_and_cannot_be_read_is_unknown() -> None:
    assert weighed(BOTH, BOTH, BOTH, BEFORE) == Weighed(is_unknown=True)


def test_what_is_durable_on_one_device_counts() -> None:
    assert weighed(frozenset({f"{NEW}##d.data"}), BOTH, BEFORE, BEFORE) == Weighed((WRITE,))


def test_what_something_newer_has_replaced_says_nothing() -> None:
    deleted = frozenset({f"{NEWER}.ts"})
    assert weighed(*[BOTH] * 4, deleted) == Weighed(void=frozenset({PENDING}))
    assert weighed(*[BOTH] * 4, frozenset({f"{NEWER}##d.data"})) == Weighed(void=frozenset({PENDING}))


def test_metadata_replaces_no_data() -> None:
    assert weighed(*[BOTH | {f"{NEWER}.meta"}] * 4) == Weighed((WRITE,))


def test_durable_fragments_count_where_all_else_is_lost() -> None:
    two_two, nothing = Quorums(voters=4, write=3, majority=3, data=2), frozenset[str]()
    whole, kept = frozenset({f"{OLD}.data"}), frozenset({f"{OLD}.data", f"{NEW}!##d.data"})
    for some in (BEFORE, kept, BEFORE | {f"{NEW}.meta"}):
        assert survivors(dict(enumerate([some, some, nothing])), two_two) == [0, 1]
    assert survivors(dict(enumerate([BEFORE, nothing, nothing, nothing])), two_two) == []  # some majority has nothing
    assert survivors(dict(enumerate([BEFORE] * 3 + [nothing] * 2)), FOUR_TWO) == []  # they do not give a body
    assert survivors(dict(enumerate([BEFORE, BEFORE, frozenset({f"{NEW}.ts"})])), two_two) == []
    assert survivors(dict(enumerate([whole, whole, nothing])), two_two) == []  # of which nobody knows that it counts
    assert survivors(dict(enumerate([BEFORE | {f"{NEW}.data"}] * 2 + [nothing])), two_two) == []
    assert survivors({0: nothing, 1: nothing}, two_two) == []


def test_lines_do_not_touch_each_other() -> None:
    kept = frozenset({f"{NEW}!#.data", f"{NEWER}.ts"})
    assert weighed(*[kept] * 4) == Weighed((PendingWrite(NEW, NEW),))
    again = frozenset({f"{NEWER}!{NEW}#.data"})
    assert weighed(*[again] * 4) == Weighed((PendingWrite(NEWER, NEW),))
    removed = again | {f"{OLD}!{NEW}.ts"}
    assert weighed(*[removed] * 4) == Weighed(void=again)


def test_one_fragment_on_several_devices_counts_once() -> None:
    doubled = Quorums(voters=6, write=5, majority=4, data=2)
    same = dict.fromkeys(range(6), 1)
    assert weigh(dict.fromkeys(range(6), BOTH), same, 0, doubled) == Weighed(is_unknown=True)


CODES = st.builds(
    lambda data, parity: Quorums(
        data + parity, max(data + 1, (data + parity) // 2 + 1), (data + parity) // 2 + 1, data
    ),
    st.integers(1, 8),
    st.integers(1, 4),
)


@given(CODES, st.data())
def test_what_was_acknowledged_is_never_passed_over(quorums: Quorums, data: st.DataObject) -> None:
    devices = list(range(quorums.voters))
    stored = data.draw(st.sets(st.sampled_from(devices), min_size=quorums.write))
    settled = data.draw(st.sets(st.sampled_from(sorted(stored))))
    heard = data.draw(st.sets(st.sampled_from(devices), min_size=quorums.read))
    durable = frozenset({f"{NEW}##d.data"})
    states = {each: durable if each in settled else BOTH if each in stored else BEFORE for each in heard}
    found = weigh(states, {each: each for each in devices}, quorums.voters - len(heard), quorums)
    assert not found.void
    assert found.is_unknown or found.commits or set(states.values()) == {durable} or settled & heard


@given(CODES, st.data())
def test_what_was_read_once_is_read_by_all_who_come_later(quorums: Quorums, data: st.DataObject) -> None:
    devices = list(range(quorums.voters))
    committed = data.draw(st.sets(st.sampled_from(devices), min_size=quorums.majority))
    heard = data.draw(st.sets(st.sampled_from(devices), min_size=quorums.read))
    more = data.draw(st.sets(st.sampled_from(devices)))
    durable = frozenset({f"{NEW}##d.data"})
    states = {each: durable if each in committed else BOTH if each in more else BEFORE for each in heard}
    found = weigh(states, {each: each for each in devices}, quorums.voters - len(heard), quorums)
    assert not found.void
    assert not found.is_unknown
    assert durable in states.values()
