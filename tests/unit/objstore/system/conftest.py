"""Short waits."""

import pytest

from objstore.system import hub


@pytest.fixture(autouse=True)
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts are noticed at once."""
    monkeypatch.setattr(hub, "SWEEP_SECONDS", 0.002)
