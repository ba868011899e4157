"""Libraries that speak S3, each by a script that runs in an environment of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.functional.clients.s3 import new_name, run_script, settings_of
from tests.functional.conftest import CLIENTS, run
from tests.functional.servers import Store
from tests.tidy.repository import ROOT

COMPAT = ROOT / "tests/compat"
NODE_MIN = 20


def test_minio_client(store: Store, tmp_path: Path) -> None:
    assert run_script(store, tmp_path, "minio_client.py", new_name()) == "ok\n"


def test_s3fs_and_pyarrow(store: Store, tmp_path: Path, bucket: str) -> None:
    assert run_script(store, tmp_path, "frames.py", bucket) == "ok\n"


def test_duckdb(store: Store, tmp_path: Path, bucket: str) -> None:
    assert run_script(store, tmp_path, "duck.py", bucket) == "ok\n"


def test_the_oldest_boto3(store: Store, tmp_path: Path, bucket: str) -> None:
    path = str(CLIENTS / "oldest-boto3")
    assert run_script(store, tmp_path, "oldest_boto3.py", bucket, PYTHONPATH=path) == "ok\n"


def test_duckdb_and_its_httpfs(store: Store, tmp_path: Path, bucket: str) -> None:
    path = str(CLIENTS / "duckdb-httpfs")
    assert run_script(store, tmp_path, "duck_httpfs.py", bucket, PYTHONPATH=path) == "ok\n"


def test_the_sdk_for_javascript(store: Store, tmp_path: Path, bucket: str) -> None:
    node = shutil.which("node")
    if node is None or int(run(node, "--version").lstrip("v").partition(".")[0]) < NODE_MIN:
        pytest.skip(f"Node.js {NODE_MIN} is not installed")
    run(node, str(COMPAT / "sdk_javascript.mjs"), bucket, cwd=CLIENTS / "javascript", **settings_of(store, tmp_path))


def test_the_sdk_for_go(store: Store, tmp_path: Path, bucket: str) -> None:
    program = CLIENTS / "go" / "sdk_go"
    if shutil.which("go") is None and not program.exists():
        pytest.skip("Go is not installed")
    run(str(program), bucket, **settings_of(store, tmp_path))


@pytest.mark.parametrize(("script", "commits"), [("delta.py", 5), ("iceberg.py", 2)])
def test_no_commit_of_a_table_is_lost(store: Store, tmp_path: Path, bucket: str, script: str, commits: int) -> None:
    assert run_script(store, tmp_path, script, bucket, "3", str(commits)) == "ok\n"
