"""Short waits."""

import pytest

from objstore.system import concurrency


@pytest.fixture(autouse=True)
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts are noticed at once."""
    monkeypatch.setattr(concurrency, "SWEEP_SECONDS", 0.002)
