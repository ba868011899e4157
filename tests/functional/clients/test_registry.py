"""docker-registry keeps images in a bucket; skopeo pushes and pulls one."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.client import Client
from tests.functional.clients.conftest import contents
from tests.functional.clients.s3 import REGION
from tests.functional.conftest import installed, run
from tests.functional.servers import Store, free_port
from tests.waiting import wait_until

CONFIGURATION = """
version: 0.1
storage:
  s3:
    accesskey: test:tester
    secretkey: testing
    region: {region}
    regionendpoint: {endpoint}
    bucket: {bucket}
    secure: false
    chunksize: 5242880
    rootdirectory: /images
http:
  addr: 127.0.0.1:{port}
  secret: testing
"""


def layout(folder: Path) -> None:
    """An image of one layer that is large enough for parts, as skopeo's `dir:` reads it."""
    folder.mkdir()

    def blob(content: bytes, kind: str) -> dict[str, object]:
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest).write_bytes(content)
        return {"mediaType": kind, "size": len(content), "digest": f"sha256:{digest}"}

    docker = "application/vnd.docker"
    layer = blob(gzip.compress(os.urandom(12_000_000), 1), f"{docker}.image.rootfs.diff.tar.gzip")
    inner = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}}
    config = blob(json.dumps(inner).encode(), f"{docker}.container.image.v1+json")
    kind = f"{docker}.distribution.manifest.v2+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "version").write_text("Directory Transport Version: 1.1\n", encoding="utf-8")


@pytest.fixture
def registry(store: Store, bucket: str, tmp_path: Path) -> Iterator[str]:
    """Its address."""
    port, program = free_port(), installed("docker-registry")
    text = CONFIGURATION.format(region=REGION, endpoint=store.url, bucket=bucket, port=port)
    (tmp_path / "registry.yml").write_text(text, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "AWS_CA_BUNDLE"}

    def answers() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    with (tmp_path / "registry.log").open("wb") as log:
        command = [program, "serve", str(tmp_path / "registry.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            wait_until(answers, "a registry that answers", 30.0)
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


def test_push_and_pull(registry: str, client: Client, bucket: str, tmp_path: Path) -> None:
    skopeo, image = installed("skopeo"), tmp_path / "image"
    layout(image)
    for name in ("one", "two"):
        run(
            skopeo,
            "copy",
            "--insecure-policy",
            "--dest-tls-verify=false",
            f"dir:{image}",
            f"docker://{registry}/{name}:v",
        )
    assert any(name.startswith("images/docker/registry/v2/blobs/sha256/") for name in client.names(bucket))
    back = tmp_path / "back"
    run(skopeo, "copy", "--insecure-policy", "--src-tls-verify=false", f"docker://{registry}/two:v", f"dir:{back}")
    assert contents(back) == contents(image)
