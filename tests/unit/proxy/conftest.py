"""Fixtures of the proxy's tests."""

from pathlib import Path

import pytest

from tests.unit.proxy.swift.harness import Proxy


@pytest.fixture
def proxy(tmp_path: Path) -> Proxy:
    """The default pipeline; the account AUTH_test has nothing in it."""
    return Proxy(tmp_path)
