from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.identity.service import IdentityService


@pytest.fixture
def identity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityService]:
    """A service with alice and bob in it. Its passwords are hashed fast."""
    monkeypatch.setattr("objstore.passwords.SCRYPT_NUMBERS", (2, 1, 1))
    service = IdentityService(tmp_path)
    service.populate()
    yield service
    service.state.database.close()
