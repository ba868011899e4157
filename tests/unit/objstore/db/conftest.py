"""Servers on a folder of the test's own."""

from pathlib import Path

import pytest

from tests.unit.objstore.db.harness import Servers
from tests.unit.objstore.db.replicas import Replicas


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """A container server and an account server with one device, sda."""
    return Servers(tmp_path)


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """Container and account servers of several nodes."""
    return Replicas(tmp_path)
