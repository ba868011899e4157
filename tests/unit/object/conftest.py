"""Fixtures of the object server's tests."""

from pathlib import Path

import pytest

from tests.unit.object.harness import ServedFolder


@pytest.fixture
def store(tmp_path: Path) -> ServedFolder:
    """A server with one device, sda."""
    return ServedFolder(tmp_path)
