"""The MinIO client for Python: what its own examples do. Arguments: a bucket that is not there yet."""

import io
import os
import sys
from urllib.parse import urlsplit
from urllib.request import urlopen

from minio import Minio
from minio.commonconfig import ComposeSource, CopySource, Tags
from minio.deleteobjects import DeleteObject
from minio.versioningconfig import ENABLED, VersioningConfig

bucket = sys.argv[1]
access, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
client = Minio(urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc, access_key=access, secret_key=secret, secure=False)
client.make_bucket(bucket_name=bucket)
assert client.bucket_exists(bucket_name=bucket) and bucket in [each.name for each in client.list_buckets()]

large = os.urandom(11_000_000)
client.put_object(bucket_name=bucket, object_name="a b/+large", data=io.BytesIO(large), length=-1, part_size=5_242_880)
client.put_object(bucket_name=bucket, object_name="small", data=io.BytesIO(b"s"), length=1, metadata={"Colour": "red"})
assert client.get_object(bucket_name=bucket, object_name="a b/+large").read() == large
stat = client.stat_object(bucket_name=bucket, object_name="small")
assert (stat.size, stat.metadata["x-amz-meta-colour"]) == (1, "red")
part = client.get_object(bucket_name=bucket, object_name="a b/+large", offset=5_242_879, length=2)
assert part.read() == large[5_242_879:5_242_881]

client.copy_object(bucket_name=bucket, object_name="copy", source=CopySource(bucket_name=bucket, object_name="small"))
sources = [ComposeSource(bucket_name=bucket, object_name=name) for name in ("a b/+large", "small")]
client.compose_object(bucket_name=bucket, object_name="composed", sources=sources)
assert client.get_object(bucket_name=bucket, object_name="composed").read() == large + b"s"

listed = client.list_objects(bucket_name=bucket, recursive=True)
assert [each.object_name for each in listed] == ["a b/+large", "composed", "copy", "small"]
assert "a b/" in [each.object_name for each in client.list_objects(bucket_name=bucket)]

tags = Tags.new_object_tags()
tags["k"] = "v"
client.set_object_tags(bucket_name=bucket, object_name="small", tags=tags)
assert client.get_object_tags(bucket_name=bucket, object_name="small") == {"k": "v"}
with urlopen(client.presigned_get_object(bucket_name=bucket, object_name="small"), timeout=30) as answer:
    assert answer.read() == b"s"

client.set_bucket_versioning(bucket_name=bucket, config=VersioningConfig(ENABLED))
client.remove_object(bucket_name=bucket, object_name="copy")
versions = list(client.list_objects(bucket_name=bucket, recursive=True, include_version=True))
assert sum(each.is_delete_marker for each in versions) == 1
doomed = [DeleteObject(each.object_name, each.version_id) for each in versions]
assert list(client.remove_objects(bucket_name=bucket, delete_object_list=doomed)) == []
client.remove_bucket(bucket_name=bucket)
assert not client.bucket_exists(bucket_name=bucket)
print("ok")
