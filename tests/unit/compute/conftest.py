"""A cell for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.compute.world import CellWorld, ObedientHost


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CellWorld]:
    made = CellWorld(tmp_path)
    yield made
    made.sql.engine.dispose()


@pytest.fixture
def host(world: CellWorld) -> ObedientHost:
    return ObedientHost(world, "host-1")
