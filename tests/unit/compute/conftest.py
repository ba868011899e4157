"""A cell for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.compute.world import CellWorld, ObedientHost, PlainSql


@pytest.fixture
def world(tmp_path: Path) -> Iterator[CellWorld]:
    sql = PlainSql(tmp_path / "compute.sqlite")
    yield CellWorld(sql)
    sql.engine.dispose()


@pytest.fixture
def host(world: CellWorld) -> ObedientHost:
    return ObedientHost(world, "host-1")
