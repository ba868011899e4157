"""Work on many items, so many at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from objstore.system import concurrency

T = TypeVar("T")


def for_each(items: Iterable[T], work: Callable[[T], object], at_once: int) -> None:
    """Call `work` for every item, so many at a time; after an error no further item is begun, and it is raised."""
    left = deque(items)

    def run() -> None:
        try:
            while left:
                work(left.popleft())
        finally:
            left.clear()

    tasks = [concurrency.spawn(run) for _ in range(at_once)]
    try:
        for task in tasks:
            task.wait()
    finally:
        for task in tasks:
            task.kill()
