"""Servers on a folder of the test's own."""

from pathlib import Path

import pytest

from tests.unit.objstore.db.harness import Servers


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """A container server and an account server with one device, sda."""
    return Servers(tmp_path)
