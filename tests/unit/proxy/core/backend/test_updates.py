"""Who tells whom."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.core.backend.objects import spread, update_count
from objstore.quorum import quorum_size

counts = st.integers(1, 9)


@given(counts, counts)
def test_all_servers_are_told_and_quorums_reach_quorums(writers: int, servers: int) -> None:
    count = update_count(writers, servers)
    told = spread(count, writers)
    assert sorted(number for each in told for number in each) == list(range(count))
    assert {number % servers for each in told for number in each} == set(range(servers))
    # What one of them alone has stored is listed, too.
    assert all(told)
    # Even if the writers that store the object are those who send the fewest updates.
    fewest = sum(sorted(len(each) for each in told)[: quorum_size(writers)])
    assert fewest >= min(quorum_size(servers), quorum_size(writers))
