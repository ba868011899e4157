import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from objstore.config.users import SCRYPT, Derivation, HashedKey
from objstore.passwords import DERIVED_BYTES, SALT_BYTES
from tests.unit.identity.service import IdentityService

FAST = Derivation(SCRYPT, (2, 1, 1), DERIVED_BYTES)


@pytest.fixture
def fast_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.passwords.SCRYPT_NUMBERS", FAST.numbers)
    monkeypatch.setattr("objstore.identity.state.DECOY", HashedKey(FAST, b"\0" * SALT_BYTES, b"\0" * DERIVED_BYTES))


@pytest.fixture(scope="session")
def populated(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Where a service with users was made once, for all tests to copy; empty before."""
    return [tmp_path_factory.mktemp("identity")]


@pytest.fixture
def identity(tmp_path: Path, populated: list[Path], fast_passwords: None) -> Iterator[IdentityService]:
    """A service with alice and bob in it."""
    if not (populated[0] / "keys").exists():
        first = IdentityService(populated[0])
        first.populate()
        first.state.database.close()
    shutil.copytree(populated[0], tmp_path, dirs_exist_ok=True)
    service = IdentityService(tmp_path)
    service.recognize()
    yield service
    service.state.database.close()
