"""Short waits, a server that a test plays, and a client of it."""

from collections.abc import Iterator

import pytest

from objstore.http.client import HttpTransport
from objstore.system import hub
from tests.unit.objstore.http.nodes import Script


@pytest.fixture(autouse=True)
def quick_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Timeouts are noticed at once."""
    monkeypatch.setattr(hub, "SWEEP_SECONDS", 0.002)


@pytest.fixture
def script() -> Iterator[Script]:
    """A server that a test plays."""
    made = Script()
    yield made
    made.listener.close()


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    """What is tested."""
    made = HttpTransport(0.05)
    yield made
    made.close()
