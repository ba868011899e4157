"""What tests of the replication of objects share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.object.replication.cluster import Replicas


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """Four servers, the first three of them primaries."""
    return Replicas(tmp_path)
