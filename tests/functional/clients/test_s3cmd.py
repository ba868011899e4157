"""s3cmd: files there and back, and what it sets of buckets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.functional.client import Client
from tests.functional.clients.s3 import new_name
from tests.functional.conftest import installed, run
from tests.functional.servers import Store


@pytest.fixture
def s3cmd(store: Store, tmp_path: Path) -> Callable[..., str]:
    """Runs s3cmd for test:tester; what it prints."""
    program = installed("s3cmd")
    host = urlsplit(store.url).netloc
    settings = {"access_key": "test:tester", "secret_key": "testing", "host_base": host, "host_bucket": host}
    lines = [f"{name} = {value}" for name, value in {**settings, "use_https": "False"}.items()]
    config = tmp_path / "s3cfg"
    config.write_text("\n".join(["[default]", *lines, ""]), encoding="utf-8")
    return lambda *arguments: run(program, "-c", str(config), *arguments)


def test_files_there_and_back(s3cmd: Callable[..., str], client: Client, tmp_path: Path) -> None:
    name = new_name()
    s3cmd("mb", f"s3://{name}")
    assert f"s3://{name}" in s3cmd("ls")
    tree = tmp_path / "tree"
    for path, content in (("a b.txt", b"1"), ("dir/\u00fc+&.bin", bytes(100_000)), ("dir/empty", b"")):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    s3cmd("sync", f"{tree}/", f"s3://{name}/t/")
    assert client.names(name) == ["t/a b.txt", "t/dir/empty", "t/dir/\u00fc+&.bin"]
    listed = s3cmd("ls", f"s3://{name}/t/")
    assert f"s3://{name}/t/a b.txt" in listed and "DIR" in listed
    back = tmp_path / "back"
    back.mkdir()
    s3cmd("sync", f"s3://{name}/t/", f"{back}/")
    for path in tree.rglob("*"):
        if path.is_file():
            assert (back / path.relative_to(tree)).read_bytes() == path.read_bytes()
    s3cmd("cp", f"s3://{name}/t/a b.txt", f"s3://{name}/copy")
    s3cmd("mv", f"s3://{name}/copy", f"s3://{name}/moved")
    assert "moved" in client.names(name) and "copy" not in client.names(name)
    s3cmd("rb", "--recursive", "--force", f"s3://{name}")
    assert client.head(name).status == 404


def test_settings(s3cmd: Callable[..., str], store: Store, client: Client, tmp_path: Path) -> None:
    name = new_name()
    s3cmd("mb", f"s3://{name}")
    (tmp_path / "o").write_bytes(b"1")
    s3cmd("put", str(tmp_path / "o"), f"s3://{name}/o")
    anybody = Client(store.host, store.port)
    assert anybody.raw("GET", f"/{name}/o").status == 403
    s3cmd("setacl", "--acl-public", f"s3://{name}/o")
    assert anybody.raw("GET", f"/{name}/o").body == b"1"
    assert "ACL" in s3cmd("info", f"s3://{name}/o")
    s3cmd("setacl", "--acl-private", f"s3://{name}/o")
    assert anybody.raw("GET", f"/{name}/o").status == 403
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*"}
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}), encoding="utf-8")
    s3cmd("setpolicy", str(policy), f"s3://{name}")
    assert anybody.raw("GET", f"/{name}/o").body == b"1"
    assert "s3:GetObject" in s3cmd("info", f"s3://{name}")
    s3cmd("delpolicy", f"s3://{name}")
    assert anybody.raw("GET", f"/{name}/o").status == 403
    s3cmd("rb", "--recursive", "--force", f"s3://{name}")
