"""Objects that were uploaded in parts, through the Swift API; and what is left on the disks of a cluster in the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.functional.client import Client
from tests.functional.clients.s3 import REGION, body_of, new_name
from tests.functional.servers import NODES, Cluster, run_daemons, wait_until_healthy
from tests.waiting import wait_until

PART, LAST = b"a" * (5 << 20), b"the end"
MANIFEST_GET = {"multipart-manifest": "get"}
AT_ONCE = '\n[reclaimer]\ndelay = "0s"\nsweep_interval = "1s"\n'


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that deletes parts as soon as nobody names them."""
    running = Cluster(tmp_path_factory.mktemp("cluster") / "cluster")
    running.make()
    for node in NODES:
        with (running.folder / f"node{node}" / "container.toml").open("a") as file:
            file.write(AT_ONCE)
    try:
        running.start_servers()
        for node in NODES:
            wait_until_healthy(*running.endpoint(node))
        yield running
    finally:
        running.run("stop")


@pytest.fixture
def client(cluster: Cluster) -> Client:
    return Client.login(*cluster.endpoint(1))


@pytest.fixture
def s3(cluster: Cluster) -> Any:
    return s3_of(cluster, "test:tester", "testing")


def s3_of(cluster: Cluster, access_key: str, secret: str) -> Any:
    host, port = cluster.endpoint(2)
    return boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


@pytest.fixture
def bucket(s3: Any) -> str:
    name = new_name()
    s3.create_bucket(Bucket=name)
    return name


def begin(s3: Any, bucket: str, key: str) -> dict[str, str]:
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key, Metadata={"color": "red"})
    return {"Bucket": bucket, "Key": key, "UploadId": begun["UploadId"]}


def upload(s3: Any, bucket: str, key: str, *contents: bytes) -> None:
    named, parts = begin(s3, bucket, key), []
    for number, content in enumerate(contents, 1):
        s3.upload_part(**named, PartNumber=number, Body=b"sent again")
        stored = s3.upload_part(**named, PartNumber=number, Body=content)
        parts.append({"PartNumber": number, "ETag": stored["ETag"]})
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})


def reclaim(cluster: Cluster) -> None:
    """What is over is noted by one pass and deleted by the next."""
    for _ in range(2):
        run_daemons([cluster.daemon_words(node, "object", "replicator,updater") for node in NODES])
        run_daemons([cluster.daemon_words(node, "container", "replicator,part-reclaimer") for node in NODES])


def data_files(cluster: Cluster, size: int) -> list[Path]:
    """The objects of at least so many bytes."""
    found = cluster.folder.glob("node*/devices/*/objects*/*/*/*/*.data")
    return [path for path in found if path.stat().st_size >= size]


def test_nothing_is_left_on_disks(cluster: Cluster, s3: Any, client: Client, bucket: str) -> None:
    upload(s3, bucket, "replaced", PART, LAST)
    upload(s3, bucket, "kept", PART, LAST)
    aborted, still = begin(s3, bucket, "aborted"), begin(s3, bucket, "open")
    for named in (aborted, still):
        s3.upload_part(**named, PartNumber=1, Body=PART)
    s3.abort_multipart_upload(**aborted)
    s3.put_object(Bucket=bucket, Key="replaced", Body=b"x")
    reclaim(cluster)
    # The part of the open upload, and that of "kept", on three disks each.
    assert len(data_files(cluster, len(PART))) == 6
    assert body_of(s3.get_object(Bucket=bucket, Key="kept")) == PART + LAST
    for key in ("replaced", "kept"):
        s3.delete_object(Bucket=bucket, Key=key)
    s3.delete_bucket(Bucket=bucket)
    reclaim(cluster)
    assert data_files(cluster, 1) == []
    assert client.get().lines == []


def test_an_upload_is_read_copied_and_deleted_through_the_swift_api(s3: Any, client: Client, bucket: str) -> None:
    upload(s3, bucket, "k", PART, LAST)
    found = client.get(f"{bucket}/k")
    assert (found.status, found.body, found.headers["x-object-meta-color"]) == (200, PART + LAST, "red")
    ranged = client.get(f"{bucket}/k", headers={"Range": f"bytes={len(PART) - 1}-{len(PART) + 2}"})
    assert (ranged.status, ranged.body) == (206, b"athe")
    manifest = client.get(f"{bucket}/k", **MANIFEST_GET)
    assert [part["bytes"] for part in manifest.json()] == [len(PART), len(LAST)]
    as_manifest = client.copy(f"{bucket}/k", f"{bucket}/m", **MANIFEST_GET)
    assert as_manifest.status == 400
    assert client.copy(f"{bucket}/k", f"{bucket}/copy").status == 201
    report, later = {"multipart-manifest": "delete"}, {"multipart-manifest": "delete", "async": "on"}
    for query, status in ((report, 200), (later, 204), ({}, 204)):
        assert client.delete(f"{bucket}/k", **query).status == status
        assert client.get(f"{bucket}/k").status == 404
        assert client.get(f"{bucket}/copy").body == PART + LAST
        upload(s3, bucket, "k", PART, LAST)


def test_an_archive_gets_the_content(s3: Any, client: Client, bucket: str) -> None:
    upload(s3, bucket, "k", PART, LAST)
    client.put(f"{bucket}-old")
    client.post(bucket, headers={"X-Versions-Location": f"{bucket}-old"})
    assert client.put(f"{bucket}/k", b"new").status == 201
    (name,) = client.get(f"{bucket}-old").lines
    archived = client.get(f"{bucket}-old/{name}")
    assert archived.body == PART + LAST
    assert "x-static-large-object" not in archived.headers


def test_a_deleted_account_is_emptied(cluster: Cluster) -> None:
    """Of versions, delete markers, uploads that are complete and such as are open."""
    s3, bucket = s3_of(cluster, "test2:tester2", "testing2"), new_name()
    before = set(data_files(cluster, 4 << 20))
    s3.create_bucket(Bucket=bucket)
    for status in ("Enabled", "Suspended"):
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        for key in ("a", "b"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"b" * (4 << 20))
            s3.put_object(Bucket=bucket, Key=key, Body=b"c" * (4 << 20))
            s3.delete_object(Bucket=bucket, Key=key)
        upload(s3, bucket, "whole", PART, LAST)
    s3.upload_part(**begin(s3, bucket, "open"), PartNumber=1, Body=PART)
    # The last device of three may take its file after the answer, and what is replaced goes after it.
    wait_until(lambda: len(set(data_files(cluster, 4 << 20)) - before) == 3 * (4 + 2 + 1), "the files", 30)
    made = set(data_files(cluster, 4 << 20)) - before
    reseller = Client.login(*cluster.endpoint(1), "admin:admin", "admin")
    assert reseller.raw("DELETE", "/v1/AUTH_test2").status == 204
    for _ in range(2):
        # What a marker hides is listed, and in the second pass there is nothing left.
        run_daemons([cluster.daemon_words(node, "account", "reaper") for node in NODES])
    reports = [json.loads(path.read_text()) for path in cluster.folder.glob("node*/recon/account-reaper*")]
    assert len(reports) == len(NODES)
    assert all(report["counts"] == {} for report in reports)
    assert made.isdisjoint(data_files(cluster, 4 << 20))
