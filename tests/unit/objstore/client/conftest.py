from collections.abc import Iterator

import pytest

from tests.unit.objstore.client.scripted import close_clients


@pytest.fixture(autouse=True)
def clients_are_closed() -> Iterator[None]:
    yield
    close_clients()
