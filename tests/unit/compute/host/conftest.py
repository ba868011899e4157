"""A folder for machines whose path is short: sockets lie in it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def short_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="host-") as name:
        yield Path(name)
