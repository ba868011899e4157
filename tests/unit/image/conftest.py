from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.image.service_in_memory import ServiceInMemory


@pytest.fixture
def images(tmp_path: Path) -> Iterator[ServiceInMemory]:
    made = ServiceInMemory(tmp_path)
    yield made
    made.close()
