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
    packs = client.names(name, prefix="backups/data/")
    restic("forget", "--keep-last", "1", "--prune")
    assert len(client.names(name, prefix="backups/data/")) < len(packs)
    restic("check", "--read-data")
    restic("restore", "latest", "--target", str(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(source)
    assert client.names(name, prefix="backups/locks/") == []
