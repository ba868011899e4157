"""Reports of a daemon's passes, for recon and metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from objstore.recon import Recon
from objstore.runtime import Runtime

REPORT_SECONDS: Final = 15.0  # while a pass goes on


class PassReport:
    """Counts what one daemon does, for operators and for the metrics of the process."""

    def __init__(self, daemon: str, recon: Recon, runtime: Runtime, of: str = "databases") -> None:
        """`of` is what it counts."""
        self._daemon = daemon
        self._recon = recon
        self._clock = runtime.clock
        self._metrics = runtime.metrics.counter(
            f"{daemon.replace('-', '_')}_{of}", f"What the {daemon} did", ("outcome",)
        )
        self._counts: Counter[str] = Counter()
        self._started = 0.0
        self._began = 0.0
        self._reported = 0.0

    def begin(self) -> None:
        self._counts.clear()
        self._started, self._began = self._clock.now(), self._clock.monotonic()
        self._reported = self._began
        self._recon.report(self._daemon, started=self._started)

    def count(self, outcome: str, times: int = 1) -> None:
        if times:
            self._counts[outcome] += times
            self._metrics.add(outcome, amount=times)

    @property
    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def counted(self, outcome: str) -> int:
        return self._counts[outcome]

    def progress(self, done: int, total: int) -> None:
        """So much of the pass is over; told now and then."""
        self.progress_side_by_side([(done, total)])

    def progress_side_by_side(self, parts: Sequence[tuple[int, int]]) -> None:
        """`progress` for parts that run side by side, (done, total) of each: the slowest gives the remaining time."""
        now = self._clock.monotonic()
        if now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        left = max(((total - done) / max(done, 1) for done, total in parts), default=0.0) * (now - self._began)
        self._recon.report(
            self._daemon,
            done=sum(done for done, _ in parts),
            total=sum(total for _, total in parts),
            remaining_seconds=round(left, 1),
            progress=self.counts,
        )

    def end(self) -> None:
        self._recon.report(
            self._daemon,
            started=self._started,
            ended=self._clock.now(),
            pass_seconds=round(self._clock.monotonic() - self._began, 3),
            remaining_seconds=0.0,
            counts=self.counts,
        )
