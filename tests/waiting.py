"""How tests wait: for a condition, with a deadline; and where time itself is what a test needs, with the reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from objstore.system import concurrency

SOON_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.02


def wait_until(condition: Callable[[], object], what: str = "the condition", seconds: float = SOON_SECONDS) -> None:
    """Poll what other processes or threads do until the condition is true; fails, naming `what`, after so long."""
    _poll(condition, what, seconds, POLL_SECONDS, time.sleep)


def wait_in_hub(condition: Callable[[], object], what: str = "the condition", seconds: float = SOON_SECONDS) -> None:
    """Let other greenlets of this process run until the condition is true; fails after so many seconds."""
    _poll(condition, what, seconds, 0.001, concurrency.sleep)


def _poll(
    condition: Callable[[], object], what: str, seconds: float, pause: float, sleep: Callable[[float], object]
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        sleep(pause)


def elapse(seconds: float, reason: str) -> None:
    """Let time pass that is part of the case, such as a slow client's; `reason` says why no condition stands for it."""
    assert reason
    time.sleep(seconds)


def elapse_in_hub(seconds: float, reason: str) -> None:
    """As `elapse`, while other greenlets of this process run."""
    assert reason
    concurrency.sleep(seconds)
