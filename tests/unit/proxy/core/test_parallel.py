"""Work on many items, a few at a time."""

from __future__ import annotations

import pytest

from objstore.proxy.core.parallel import for_each
from objstore.system import concurrency


def test_for_each_calls_for_every_item_so_many_at_a_time() -> None:
    running, most, done = [0], [0], []

    def work(item: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        concurrency.sleep()
        running[0] -= 1
        done.append(item)

    for_each(range(7), work, 2)
    assert (sorted(done), most[0]) == (list(range(7)), 2)


def test_for_each_ends_with_the_first_error() -> None:
    done = []

    def work(item: int) -> None:
        concurrency.sleep()
        if item == 1:
            raise ValueError(item)
        done.append(item)

    with pytest.raises(ValueError, match="1"):
        for_each(range(100), work, 2)
    concurrency.sleep()
    assert len(done) < 10
