"""What every server and daemon is handed instead of reaching for the system itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from objstore.logs import Logger
from objstore.metrics import Metrics
from objstore.system.clock import Clock
from objstore.system.disk_calls import DeviceCalls, Flusher
from objstore.system.shared_counters import SharedCounters, SharedMarks
from objstore.system.threads import ThreadGroup


@dataclass(frozen=True, slots=True)
class Runtime:
    """Time, chance, disk calls, threads, and where to report. A simulation passes its own.

    Made with nothing but a log, it holds the real ones.
    """

    log: Logger
    clock: Clock = field(default_factory=Clock)
    metrics: Metrics = field(default_factory=Metrics)
    flusher: Flusher = field(default_factory=Flusher)
    device_calls: Callable[[str, Flusher, str], DeviceCalls] = DeviceCalls
    threads: ThreadGroup = field(default_factory=ThreadGroup)
    random: Random = field(default_factory=Random)
    shared_counters: SharedCounters = field(default_factory=SharedCounters)
    shared_marks: SharedMarks = field(default_factory=SharedMarks)
