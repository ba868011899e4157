"""Fixtures of the object server's tests."""

from pathlib import Path

import pytest

from tests.unit.object.harness import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A server with one device, sda."""
    return Store(tmp_path)
