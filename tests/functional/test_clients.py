"""The clients people use: python-swiftclient, the swift command, curl, rclone."""

from __future__ import annotations

import filecmp
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest

from tests.functional.client import Client
from tests.functional.conftest import remove, run
from tests.functional.servers import Store

FILES = 300


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of files of many sizes, with names of all kinds."""
    root = tmp_path_factory.mktemp("tree")
    for number in range(FILES):
        folder = root / f"folder {number % 7}" / "ünder" / f"{number % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}.txt").write_bytes(f"{number}\n".encode() * (number * 37 % 5000))
    return root


def same(left: Path, right: Path) -> bool:
    """Whether two trees hold the same files with the same content."""
    names = [
        sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) for root in (left, right)
    ]
    return names[0] == names[1] and all(filecmp.cmp(left / name, right / name, shallow=False) for name in names[0])


def swift_command(store: Store) -> list[str]:
    swift = str(Path(sys.executable).with_name("swift"))
    return [swift, "-A", f"{store.url}/auth/v1.0", "-U", "test:tester", "-K", "testing"]


def test_the_swift_command(store: Store, client: Client, tree: Path, tmp_path: Path) -> None:
    name = f"s-{uuid4().hex[:8]}"
    swift = swift_command(store)
    run(*swift, "upload", name, ".", cwd=tree)
    assert len(client.names(name)) == FILES
    run(*swift, "download", name, cwd=tmp_path)
    assert same(tree, tmp_path)
    assert f"Container: {name}" in run(*swift, "stat", name)
    run(*swift, "delete", name)
    assert client.head(name).status == 404


def test_rclone(rclone: Callable[..., None], tree: Path, tmp_path: Path) -> None:
    name = f"r-{uuid4().hex[:8]}"
    rclone("sync", str(tree), f"store:{name}")
    rclone("check", str(tree), f"store:{name}")
    rclone("sync", f"store:{name}", str(tmp_path / "back"))
    assert same(tree, tmp_path / "back")
    rclone("purge", f"store:{name}")


def test_swiftclient(store: Store, container: str) -> None:
    import swiftclient  # type: ignore[import-untyped]  # python-swiftclient ships no types

    connection = swiftclient.Connection(f"{store.url}/auth/v1.0", "test:tester", "testing", retries=0)
    etag = connection.put_object(container, "o", b"content", headers={"X-Object-Meta-A": "ü"})
    headers, body = connection.get_object(container, "o")
    assert (headers["etag"], body, headers["x-object-meta-a"]) == (etag, b"content", "ü")
    _, listing = connection.get_container(container, full_listing=True)
    assert [row["name"] for row in listing] == ["o"]
    connection.copy_object(container, "o", destination=f"/{container}/p")
    assert connection.head_object(container, "p")["content-length"] == "7"
    connection.delete_object(container, "o")
    with pytest.raises(swiftclient.ClientException) as error:
        connection.get_object(container, "o")
    assert error.value.http_status == 404
    connection.close()


def test_curl(store: Store, client: Client, container: str, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    large = tmp_path / "large"
    large.write_bytes(os.urandom(5_000_000))
    url = f"{store.url}/v1/{client.account}/{container}/large"
    token = f"X-Auth-Token: {client.token}"
    run(curl, "-sf", "-T", str(large), "-H", token, url)  # with Expect: 100-continue, since it is large
    run(curl, "-sf", "-o", str(tmp_path / "back"), "-H", token, url)
    assert filecmp.cmp(large, tmp_path / "back", shallow=False)
    remove(client, container)
