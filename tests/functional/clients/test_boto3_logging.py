"""Access logs: boto3 sets them, lines about all requests come as objects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.functional.client import Client
from tests.functional.clients.s3 import body_of, new_name, refused, s3_client
from tests.functional.servers import Store
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that delivers lines soon."""
    made = Store(tmp_path_factory.mktemp("logging") / "data")
    made.start()
    made.stop()
    settings = made.folder / "proxy.toml"
    settings.write_text(settings.read_text().replace("[s3]\n", '[s3]\naccess_log_interval = "500ms"\n'))
    made.start()
    yield made
    assert made.stop() == 0


@pytest.fixture(scope="module")
def s3(store: Store) -> Any:
    return s3_client(store)


def lines_in(s3: Any, logs: str) -> list[str]:
    listed = s3.list_objects_v2(Bucket=logs).get("Contents", [])
    return [
        line for each in listed for line in body_of(s3.get_object(Bucket=logs, Key=each["Key"])).decode().splitlines()
    ]


@pytest.mark.parametrize("partitioned", [False, True])
def test_lines_come_as_objects(store: Store, s3: Any, partitioned: bool) -> None:
    bucket, logs = new_name(), new_name()
    for name in (bucket, logs):
        s3.create_bucket(Bucket=name)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    wanted: dict[str, Any] = {"TargetBucket": logs, "TargetPrefix": "log/"}
    if partitioned:
        wanted["TargetObjectKeyFormat"] = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": wanted})
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == wanted
    missing = {"LoggingEnabled": wanted | {"TargetBucket": "no-such-bucket"}}
    assert refused(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=missing) == (
        400,
        "InvalidTargetBucketForLogging",
    )
    s3.put_object(Bucket=bucket, Key="a b", Body=b"content")
    s3.get_object(Bucket=bucket, Key="a b")["Body"].read()
    assert refused(s3.get_object, Bucket=bucket, Key="missing") == (404, "NoSuchKey")
    assert refused(s3_client(store, "", "").list_objects_v2, Bucket=bucket) == (403, "AccessDenied")
    client = Client.login(store.host, store.port)
    assert client.put(f"{bucket}/swift", b"content").status == 201
    assert client.get(f"{bucket}/swift").status == 200
    assert client.get(bucket).status == 200
    patterns = [
        r" test:tester tx\S+ REST\.PUT\.OBJECT swift \"PUT /v1/AUTH_test/\S+ HTTP/1\.1\" 201 - ",
        r" test:tester tx\S+ REST\.GET\.OBJECT swift \"GET /v1/AUTH_test/\S+ HTTP/1\.1\" 200 - 7 - ",
        r" test:tester tx\S+ REST\.GET\.BUCKET - \"GET /v1/AUTH_test/\S+ HTTP/1\.1\" 200 - ",
        r" REST\.PUT\.OBJECT a%20b \"PUT /\S+ HTTP/1\.1\" 200 - - 7 \d+ \d+ ",
        r" test:tester tx\S+ REST\.GET\.OBJECT a%20b \"GET /\S+ HTTP/1\.1\" 200 - 7 7 \d+ \d+ .* SigV4 - AuthHeader ",
        r" REST\.GET\.OBJECT missing \"GET /\S+ HTTP/1\.1\" 404 NoSuchKey ",
        r" - tx\S+ REST\.GET\.BUCKET - \"GET /\S+ HTTP/1\.1\" 403 AccessDenied ",
    ]

    def has_all() -> bool:
        lines = lines_in(s3, logs)
        return all(any(re.search(pattern, line) for line in lines) for pattern in patterns)

    wait_until(has_all, "lines about all requests", 30.0)
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=logs)["Contents"]]
    folder = rf"AUTH_test/us-east-1/{bucket}/\d{{4}}/\d\d/\d\d/" if partitioned else ""
    assert all(re.fullmatch(rf"log/{folder}\d{{4}}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{{16}}", key) for key in keys)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
