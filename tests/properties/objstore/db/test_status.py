"""What replicas know of a life comes to the same on all of them, whoever meets whom first."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from objstore.db.status import Status, after_delete, after_put, merge_status, new_status

moments = st.integers(1, 8).map(lambda second: f"170000000{second}.00000")
policies = st.integers(0, 2)
writes = st.tuples(st.sampled_from(["put", "delete"]), moments, policies)


def life(events: list[tuple[str, str, int]]) -> Status:
    """A replica's after a first PUT and some more writes, as its server does them, which refuses late deletions."""
    (_, first, policy), *rest = events
    status = new_status(first, policy)
    for verb, moment, policy in rest:
        before = status
        if verb == "put":
            status = after_put(status, moment, policy)
        elif moment > status.put_timestamp:
            status = after_delete(status, moment)
        assert not before.incarnation.supersedes(status.incarnation)
    return status


lives = st.lists(writes, min_size=1, max_size=5).map(life)


@given(lives, lives)
def test_merging_is_commutative_and_idempotent(one: Status, other: Status) -> None:
    merged = merge_status(one, other)
    assert merged == merge_status(other, one)
    assert merge_status(merged, merged) == merged
    assert merge_status(one, one).put_timestamp == one.put_timestamp


@given(lives, lives)
def test_no_replica_goes_back_to_a_life_that_is_outranked(one: Status, other: Status) -> None:
    merged = merge_status(one, other)
    assert not one.incarnation.supersedes(merged.incarnation)
    assert not other.incarnation.supersedes(merged.incarnation)
    assert merged.incarnation.supersedes(one.incarnation) or merged.incarnation == one.incarnation


@given(lives, lives)
def test_the_newest_write_decides_whether_it_is_there(one: Status, other: Status) -> None:
    merged = merge_status(one, other)
    put = max(one.put_timestamp, other.put_timestamp)
    assert merged.deleted is (max(one.delete_timestamp, other.delete_timestamp) > put)
    assert merged.created_at <= min(one.created_at, other.created_at)


@given(moments, moments, policies, policies)
def test_of_two_first_puts_the_older_ones_policy_holds(one: str, other: str, policy: int, another: int) -> None:
    merged = merge_status(new_status(one, policy), new_status(other, another))
    if one != other:
        assert merged.policy_index == (policy if one < other else another)
    else:
        assert merged.policy_index == min(policy, another)


@given(st.lists(lives, min_size=2, max_size=4), st.integers(0, 2**32))
def test_replicas_that_go_on_meeting_come_to_agree(replicas: list[Status], seed: int) -> None:
    random = Random(seed)
    states = list(replicas)
    for _ in range(6 * len(states)):
        first, second = random.sample(range(len(states)), 2)
        states[first] = states[second] = merge_status(states[first], states[second])
    # However they have met so far: two rounds of everybody with everybody, as passes of replicators are.
    for _ in range(2):
        for first in range(len(states)):
            for second in range(len(states)):
                states[first] = states[second] = merge_status(states[first], states[second])
    assert len(set(states)) == 1


@given(lives, lives)
def test_a_put_of_what_is_there_changes_no_policy(one: Status, other: Status) -> None:
    """A replica that knew nothing got it again, under another policy: the old one's rows stay where they are."""
    # A deletion of the very moment of a later PUT leaves open which life goes on.
    alive = not one.deleted and one.delete_timestamp <= one.status_changed_at
    if alive and other == new_status(other.put_timestamp, other.policy_index):
        merged = merge_status(one, other)
        if one.status_changed_at < other.put_timestamp:
            assert merged.policy_index == one.policy_index
