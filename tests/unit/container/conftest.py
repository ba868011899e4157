"""Servers on a folder of the test's own."""

from pathlib import Path

import pytest

from objstore.container.queue import ACCOUNT
from objstore.paths import ResourcePath
from tests.unit.objstore.db.harness import Servers
from tests.unit.objstore.db.replicas import Replicas


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    """A container server and an account server with one device, sda."""
    return Servers(tmp_path)


@pytest.fixture
def replicas(tmp_path: Path) -> Replicas:
    """The container PATH lives in policy 0, on node 3 it was put later under policy 1."""
    made = Replicas(tmp_path)
    for number in (1, 2, 3):
        made[number].request("PUT", 1, path=ResourcePath(ACCOUNT))
    made[1].put(1, 0)
    made[2].put(1, 0)
    made[3].put(2, 1)
    return made
