"""Libraries that speak S3, each by a script that runs in an environment of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.functional.clients.s3 import new_name, run_script
from tests.functional.conftest import CLIENTS
from tests.functional.servers import Store


def test_minio_client(store: Store, tmp_path: Path) -> None:
    assert run_script(store, tmp_path, "minio_client.py", new_name()) == "ok\n"


def test_s3fs_and_pyarrow(store: Store, tmp_path: Path, bucket: str) -> None:
    assert run_script(store, tmp_path, "frames.py", bucket) == "ok\n"


def test_duckdb(store: Store, tmp_path: Path, bucket: str) -> None:
    assert run_script(store, tmp_path, "duck.py", bucket) == "ok\n"


def test_the_oldest_boto3(store: Store, tmp_path: Path, bucket: str) -> None:
    path = str(CLIENTS / "oldest-boto3")
    assert run_script(store, tmp_path, "oldest_boto3.py", bucket, PYTHONPATH=path) == "ok\n"


@pytest.mark.parametrize(("script", "commits"), [("delta.py", 5), ("iceberg.py", 2)])
def test_no_commit_of_a_table_is_lost(store: Store, tmp_path: Path, bucket: str, script: str, commits: int) -> None:
    assert run_script(store, tmp_path, script, bucket, "3", str(commits)) == "ok\n"
