"""An account's use is never estimated too low while its count lags, nor too high for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.proxy.core.quota_ledger import ACCOUNT_LAG_SECONDS, CONTAINERS_MAX, AccountGrowth, Usage

NOBODY_WRITES = 2 * ACCOUNT_LAG_SECONDS

# Seconds that pass, the container, what its upload adds (a deletion: less than nothing), and how old the count is then.
steps = st.tuples(
    st.sampled_from([0.0, 1.0, 60.0, ACCOUNT_LAG_SECONDS / 2, ACCOUNT_LAG_SECONDS, NOBODY_WRITES]),
    st.sampled_from("abc"),
    st.integers(-20, 20),
    st.floats(0, ACCOUNT_LAG_SECONDS, exclude_max=True),
)


class Account:
    """One whose count is of the past."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.containers = {name: Usage(100, 100) for name in "abc"}
        self.history = [(0.0, self.held)]
        self.growth = AccountGrowth(self.now, self.held)

    @property
    def held(self) -> Usage:
        return sum(self.containers.values(), Usage())

    def counted(self, age: float) -> Usage:
        return [held for moment, held in self.history if moment <= self.now - age][-1]

    def observe(self, name: str, age: float) -> Usage:
        return self.growth.observe(self.now, self.counted(age), name, self.containers[name])

    def write(self, name: str, size: int) -> None:
        self.containers[name] += Usage(size, size)
        if size > 0:  # deletions are seen when the container is looked at again
            self.growth.add(name, Usage(size, size))
        self.history.append((self.now, self.held))


@given(st.lists(steps, max_size=30))
def test_an_estimate_is_never_too_low(many: list[tuple[float, str, int, float]]) -> None:
    account = Account()
    for seconds, name, size, age in many:
        account.now += seconds
        assert account.observe(name, age).bytes >= account.held.bytes
        account.write(name, size)


@given(st.lists(steps, max_size=30))
def test_what_is_counted_is_not_counted_twice(many: list[tuple[float, str, int, float]]) -> None:
    account = Account()
    for seconds, name, size, age in many:
        account.now += seconds
        assert account.observe(name, age) == account.held
        account.write(name, abs(size))
    account.now += NOBODY_WRITES
    assert account.observe("a", 0.0) == account.held


def test_many_containers_take_no_more_memory() -> None:
    growth = AccountGrowth(0.0, Usage())
    for number in range(3 * CONTAINERS_MAX):
        growth.observe(0.0, Usage(), str(number), Usage())
        growth.add(str(number), Usage(1, 1))
    assert growth.observe(0.0, Usage(), "x", Usage()) == Usage(3 * CONTAINERS_MAX, 3 * CONTAINERS_MAX)
    assert len(growth._containers) == CONTAINERS_MAX
