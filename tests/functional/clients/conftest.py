"""A client, and a bucket for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.client import Client
from tests.functional.clients.s3 import new_name, s3_client
from tests.functional.servers import Store


@pytest.fixture(scope="module")
def s3(store: Store) -> Any:
    return s3_client(store)


@pytest.fixture
def bucket(s3: Any, client: Client, policy: str) -> Iterator[str]:
    name = new_bucket(s3, policy)
    yield name
    if client.head(name).status != 404:
        empty(s3, name)
        s3.delete_bucket(Bucket=name)


def new_bucket(s3: Any, policy: str) -> str:
    """A bucket whose objects are stored so."""
    name = new_name()
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": f":{policy}"})
    return name


def empty(s3: Any, bucket: str) -> None:
    """Remove all versions of all objects."""
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of files: names of all kinds, an empty one, and one that clients upload in parts."""
    root = tmp_path_factory.mktemp("tree")
    files = {"a b.txt": 1, "empty": 0, "dir/\u00fc+&=%41.bin": 100_000, "dir/deep/er/x": 5, "large": 17_000_000}
    for path, size in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(os.urandom(size))
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a tree."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
