"""rclone by S3: a tree there and back, compared, copied and purged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.clients.conftest import contents
from tests.functional.clients.s3 import new_name
from tests.functional.servers import Store


def test_rclone(
    rclone: Callable[..., None],
    store: Store,
    client: Client,
    tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)  # which old versions refuse
    name, remote = (
        new_name(),
        {
            "TYPE": "s3",
            "PROVIDER": "Other",
            "ACCESS_KEY_ID": "test:tester",
            "SECRET_ACCESS_KEY": "testing",
            "ENDPOINT": store.url,
        },
    )

    def call(*arguments: str) -> None:
        rclone(*arguments, **remote, UPLOAD_CUTOFF="8M", CHUNK_SIZE="5M")

    call("mkdir", f"store:{name}")
    call("sync", str(tree), f"store:{name}/t")
    call("check", "--one-way", str(tree), f"store:{name}/t")
    assert client.names(name) == sorted(f"t/{path}" for path in contents(tree))
    call("copyto", f"store:{name}/t/large", f"store:{name}/copied")
    call("touch", "--timestamp", "2020-02-02T02:02:02", f"store:{name}/copied")  # copies it onto itself
    call("sync", f"store:{name}/t", str(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(tree)
    times = [(folder / "large").stat().st_mtime_ns for folder in (tree, tmp_path / "back")]
    assert times[0] == times[1]
    assert client.head(f"{name}/copied").headers["content-length"] == "17000000"
    call("purge", f"store:{name}")
    assert client.head(name).status == 404
