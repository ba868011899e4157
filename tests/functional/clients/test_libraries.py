"""Libraries that speak S3, each by a script that runs in an environment of its own."""

from __future__ import annotations

from pathlib import Path

from tests.functional.clients.s3 import new_name, run_script
from tests.functional.servers import Store


def test_minio_client(store: Store, tmp_path: Path) -> None:
    assert run_script(store, tmp_path, "minio_client.py", new_name()) == "ok\n"
