"""Counters and marks that forked processes share."""

import subprocess
import sys

from objstore.system.shared_counters import SLOTS, WINDOW_SECONDS, SharedCounters, SharedMarks

NOW = WINDOW_SECONDS * 1000.0


def test_a_window_ends() -> None:
    counters = SharedCounters()
    assert [counters.add("a", NOW), counters.add("a", NOW + WINDOW_SECONDS - 0.1)] == [1, 2]
    assert counters.count("a", NOW) == 2
    assert counters.count("a", NOW + WINDOW_SECONDS) == 0
    assert counters.add("a", NOW + WINDOW_SECONDS) == 1


def test_clearing() -> None:
    counters = SharedCounters()
    counters.add("a", NOW)
    counters.clear("a")
    assert counters.count("a", NOW) == 0


def test_no_other_key_lowers_a_count() -> None:
    counters = SharedCounters()
    counters.add(0, NOW)
    for key in range(2 * SLOTS):
        counters.add(key, NOW)
    assert counters.count(0, NOW) == 3


def test_marks() -> None:
    marks = SharedMarks()
    assert not marks.is_marked("a", NOW, 10)
    marks.mark("a", NOW)
    assert marks.is_marked("a", NOW + 9, 10)
    assert not marks.is_marked("a", NOW + 10, 10)
    marks.mark(5, 0.0)
    assert marks.is_marked(5, 1.0, 10)
    assert not marks.is_marked(5 + SLOTS, 1.0, 10), "another key of the slot is not taken for it"


FORK = """
import os
from objstore.system.shared_counters import SharedCounters, SharedMarks
counters, marks = SharedCounters(), SharedMarks()
if os.fork() == 0:
    counters.add("k", 1.0)
    marks.mark("k", 1.0)
    os._exit(0)
os.wait()
assert counters.count("k", 1.0) == 1
assert marks.is_marked("k", 1.0, 1.0)
"""


def test_forked_processes_share_them() -> None:
    # In a process of its own: eventlet, which other tests have loaded, complains of forks.
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=30)
