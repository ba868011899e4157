"""s3fs-fuse: a bucket as a folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.clients.conftest import contents
from tests.functional.conftest import installed, run
from tests.functional.servers import Store


@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="needs FUSE")
def test_a_bucket_as_a_folder(store: Store, client: Client, bucket: str, tree: Path, tmp_path: Path) -> None:
    folder, cache = tmp_path / "mounted", tmp_path / "cache"
    folder.mkdir()
    program, unmount = installed("s3fs"), installed("fusermount")
    options = f"url={store.url},use_path_request_style,use_cache={cache},ensure_diskfree=0,multipart_size=5"
    keys = {"AWSACCESSKEYID": "test:tester", "AWSSECRETACCESSKEY": "testing"}
    run(program, bucket, str(folder), "-o", options, **keys)
    try:
        shutil.copytree(tree, folder / "t", copy_function=shutil.copyfile)
        assert contents(folder / "t") == contents(tree)
        assert client.head(f"{bucket}/t/large").headers["content-length"] == "17000000"
        (folder / "t" / "a b.txt").rename(folder / "moved")
        (folder / "moved").chmod(0o600)
        with (folder / "t" / "large").open("r+b") as file:
            file.seek(6_000_000)
            file.write(b"changed")
        shutil.rmtree(folder / "t" / "dir")
        assert sorted(os.listdir(folder / "t")) == ["empty", "large"]
    finally:
        run(unmount, "-u", str(folder))
    assert client.get(f"{bucket}/t/large").body[6_000_000:6_000_007] == b"changed"
    assert client.names(bucket) == ["moved", "t/", "t/empty", "t/large"]
