"""The command `aws`: files there and back, links for others, uploads by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.functional.client import Client
from tests.functional.clients.conftest import contents
from tests.functional.clients.s3 import body_of, new_name, refused, settings_of
from tests.functional.conftest import installed, run
from tests.functional.servers import Store


@pytest.fixture
def aws(store: Store, tmp_path: Path) -> Callable[..., str]:
    """Runs aws for test:tester; what it prints."""
    program, settings = installed("aws"), settings_of(store, tmp_path)
    return lambda *arguments: run(program, *arguments, **settings)


def test_files_there_and_back(aws: Callable[..., str], client: Client, tree: Path, tmp_path: Path) -> None:
    name = new_name()
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "sync", str(tree), f"s3://{name}/t")
    assert client.names(name) == sorted(f"t/{path}" for path in contents(tree))
    assert client.head(f"{name}/t/large").headers["content-length"] == "17000000"
    assert aws("s3", "sync", str(tree), f"s3://{name}/t") == ""  # nothing has changed
    aws("s3", "sync", f"s3://{name}/t", str(tmp_path / "back"))
    assert contents(tmp_path / "back") == contents(tree)
    aws("s3", "sync", f"s3://{name}/t", f"s3://{name}/copy", "--exclude", "dir/*")
    assert client.names(name, prefix="copy/") == ["copy/a b.txt", "copy/empty", "copy/large"]
    listed = aws("s3", "ls", f"s3://{name}/t/")
    assert "PRE dir/" in listed and "17000000 large" in listed
    aws("s3", "rb", "--force", f"s3://{name}")
    assert client.head(name).status == 404


def test_presigned(aws: Callable[..., str], s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="a b+c", Body=b"content")
    with urlopen(aws("s3", "presign", f"s3://{bucket}/a b+c").strip(), timeout=30) as answer:
        assert answer.read() == b"content"


def test_uploads_by_hand(aws: Callable[..., str], s3: Any, bucket: str, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(b"\1" * 5_242_880)
    of = ("--bucket", bucket, "--key", "k")
    upload = json.loads(aws("s3api", "create-multipart-upload", *of))["UploadId"]
    tags = []
    for number in ("1", "3"):
        made = aws("s3api", "upload-part", *of, "--upload-id", upload, "--part-number", number, "--body", str(part))
        tags.append({"PartNumber": int(number), "ETag": json.loads(made)["ETag"]})
    done = ("--upload-id", upload, "--multipart-upload", json.dumps({"Parts": tags}), "--if-none-match", "*")
    assert json.loads(aws("s3api", "complete-multipart-upload", *of, *done))["ETag"].endswith('-2"')
    assert body_of(s3.get_object(Bucket=bucket, Key="k")) == b"\1" * 10_485_760
    attributes = aws("s3api", "get-object-attributes", *of, "--object-attributes", "ObjectParts", "ObjectSize")
    assert json.loads(attributes)["ObjectParts"]["TotalPartsCount"] == 2


def test_a_lock_file(s3: Any, bucket: str) -> None:
    """Terraform locks its state by a file that only one can make, and that is removed as it was made."""
    named = {"Bucket": bucket, "Key": "env/terraform.tfstate.tflock"}

    def lock(who: int) -> str | None:
        try:
            body = f'{{"ID": "{who}"}}'.encode()
            etag: str = s3.put_object(**named, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256")["ETag"]
            return etag
        except s3.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return None

    with ThreadPoolExecutor(8) as pool:
        [etag] = [etag for etag in pool.map(lock, range(8)) if etag]
    assert refused(s3.delete_object, **named, IfMatch='"0"') == (412, "PreconditionFailed")
    s3.delete_object(**named, IfMatch=etag)
    assert lock(9)


def test_iam(aws: Callable[..., str]) -> None:
    aws("iam", "create-user", "--user-name", "cli")
    assert "cli" in aws("iam", "list-users", "--query", "Users[].UserName", "--max-items", "50")
    aws("iam", "delete-user", "--user-name", "cli")
