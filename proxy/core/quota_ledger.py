"""What uploads of this process add to containers and accounts that have quotas, and their counts may lack.

Uploads under way count against each other, and a finished one goes on counting until a count that was read after its
end has it. So one process never admits more than fits. Several processes do not know of each other's uploads under way:
each may admit as much as is left.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from objstore.system.clock import Clock

ENTRIES_MAX: Final = 10_000
CONTAINERS_MAX: Final = 100
# Containers tell their account within five minutes, and what an account tells is remembered for one.
ACCOUNT_LAG_SECONDS: Final = 6 * 60.0


class Usage(Struct, frozen=True, gc=False):
    """Bytes and objects of a container or an account, or a change of them."""

    bytes: int = 0
    objects: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.bytes + other.bytes, self.objects + other.objects)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.bytes - other.bytes, self.objects - other.objects)

    def or_more(self, other: Usage) -> Usage:
        """The larger of each."""
        return Usage(max(self.bytes, other.bytes), max(self.objects, other.objects))

    def or_less(self, other: Usage) -> Usage:
        """The smaller of each."""
        return Usage(min(self.bytes, other.bytes), min(self.objects, other.objects))


NOTHING: Final = Usage()


class Tally(Struct):
    """What this process writes to a container or an account.

    finished: everything, since the tally was begun. counted: as much of it as any count holds for certain.
    """

    in_flight: Usage = NOTHING
    finished: Usage = NOTHING
    counted: Usage = NOTHING
    growth: AccountGrowth | None = None


class ContainerGrowth(Struct):
    """What a container held when a window's first upload came, the least since then, and now."""

    first: Usage
    least: Usage
    latest: Usage


class AccountGrowth:
    """How far an account's containers have grown while its own count lags.

    A window lasts as long as a count may lag. The account holds no more, as far as this process knows, than what was
    estimated at the window's begin with the change of its containers since then; and no more than its count with the
    most by which they can have grown within this window and the one before. Changes are differences of two counts of a
    container, so that deletions and overwritten objects do not add to them.
    """

    def __init__(self, now: float, counted: Usage) -> None:
        self._begin(now, counted, NOTHING)

    def _begin(self, now: float, base: Usage, before: Usage) -> None:
        self._since, self._base, self._before = now, base, before
        self._containers: dict[str, ContainerGrowth] = {}
        self._unlisted = NOTHING

    def observe(self, now: float, counted: Usage, container: str, usage: Usage) -> Usage:
        """What the account holds at most, by its own count and what one of its containers holds now."""
        age = now - self._since
        if age >= 2 * ACCOUNT_LAG_SECONDS:
            self._begin(now, counted, NOTHING)
        elif age >= ACCOUNT_LAG_SECONDS:
            self._begin(now, self._use(counted), self._most_growth())
        known = self._containers.get(container)
        if known is not None:
            known.least, known.latest = known.least.or_less(usage), usage
        elif len(self._containers) < CONTAINERS_MAX:
            self._containers[container] = ContainerGrowth(usage, usage, usage)
        return self._use(counted)

    def add(self, container: str, usage: Usage) -> None:
        """An upload has ended. Each counts in full in a container beyond CONTAINERS_MAX."""
        known = self._containers.get(container)
        if known is None:
            self._unlisted += usage
        else:
            known.latest += usage

    def _most_growth(self) -> Usage:
        return sum((each.latest - each.least for each in self._containers.values()), self._unlisted)

    def _use(self, counted: Usage) -> Usage:
        change = sum((each.latest - each.first for each in self._containers.values()), self._unlisted)
        return counted.or_more((self._base + change).or_less(counted + self._before + self._most_growth()))


class Allowance(Struct, frozen=True):
    """A quota (None: there is none) of one key, as an upload finds it: `counted` holds what had finished at `mark`."""

    bytes: int | None
    objects: int | None
    tally: Tally
    counted: Usage
    mark: Usage

    def exceeded(self, added: Usage) -> bool:
        """Whether so much more, beside all that is under way, does not fit."""
        tally = self.tally
        use = self.counted + (tally.finished - self.mark) + tally.in_flight + added
        return (self.bytes is not None and use.bytes > self.bytes) or (
            self.objects is not None and added.objects > 0 and use.objects > self.objects
        )


class Reservation:
    """What an upload adds to its container and account, from its admission until its end."""

    def __init__(self, container: str, tallies: Sequence[Tally], allowances: Sequence[Allowance], size: int) -> None:
        self._container = container
        self._tallies = tallies
        self._allowances = allowances
        self._usage = NOTHING
        self._hold(Usage(size, 1))

    def _hold(self, usage: Usage) -> None:
        self._usage += usage
        for tally in self._tallies:
            tally.in_flight += usage

    def extend(self, size: int) -> bool:
        """Reserve for so many bytes more; False, and nothing is reserved, if they do not fit."""
        if any(allowance.exceeded(Usage(size)) for allowance in self._allowances):
            return False
        self._hold(Usage(size))
        return True

    def end(self, *, stored: bool) -> None:
        """The upload has ended."""
        for tally in self._tallies:
            tally.in_flight -= self._usage
            if stored:
                tally.finished += self._usage
                if tally.growth is not None:
                    tally.growth.add(self._container, self._usage)


class QuotaLedger:
    """The tallies of one process, by container and account; those used last are kept."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tallies: OrderedDict[str, Tally] = OrderedDict()

    def tally(self, key: str) -> Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
            if len(self._tallies) > ENTRIES_MAX:
                self._tallies.popitem(last=False)
        else:
            self._tallies.move_to_end(key)
        return tally

    def account_use(self, tally: Tally, counted: Usage, container: str, usage: Usage) -> Usage:
        """What an account holds at most, whose count is this, and one of whose containers holds `usage` now."""
        now = self._clock.monotonic()
        if tally.growth is None:
            tally.growth = AccountGrowth(now, counted)
        return tally.growth.observe(now, counted, container, usage)
