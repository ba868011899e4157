"""restic: backups into a bucket that it makes itself."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.functional.client import Client
from tests.functional.clients.conftest import contents
from tests.functional.clients.s3 import new_name, settings_of
from tests.functional.conftest import installed, run
from tests.functional.servers import Store


def test_restic(store: Store, client: Client, tree: Path, tmp_path: Path) -> None:
    name, program = new_name(), installed("restic")
    repository = {"RESTIC_REPOSITORY": f"s3:{store.url}/{name}/backups", "RESTIC_PASSWORD": "testing"}

    def restic(*arguments: str, folder: Path = tmp_path) -> str:
        return run(program, *arguments, cwd=folder, **settings_of(store, tmp_path), **repository)

    source = tmp_path / "source"
    shutil.copytree(tree, source)
    restic("init")
    restic("backup", ".", folder=source)
    (source / "a b.txt").write_bytes(b"changed")
    (source / "large").unlink()
    restic("backup", ".", folder=source)
    restic("check", "--read-data")
    before = size_of(client, name)
    restic("forget", "--keep-last", "1", "--prune")
    assert size_of(client, name) < before - 10_000_000
    restic("check", "--read-data")
    restic("restore", "latest", "--target", str(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(source)
    assert client.names(name, prefix="backups/locks/") == []


def size_of(client: Client, bucket: str) -> int:
    """The bytes of all objects."""
    return sum(row["bytes"] for row in client.rows(bucket))
