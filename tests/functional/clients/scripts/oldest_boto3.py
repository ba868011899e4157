"""The oldest boto3 that runs: objects, parts, links and listings, with signatures of both versions.

Arguments: a bucket.
"""

import os
import sys
from urllib.request import urlopen

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config

assert boto3.__version__ == "1.11.0"
bucket, content = sys.argv[1], os.urandom(11_000_000)
for version in ("s3", "s3v4"):
    config = Config(signature_version=version, s3={"addressing_style": "path"})
    s3 = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"], config=config)
    with open("content", "wb") as file:
        file.write(content)
    s3.upload_file("content", bucket, "large", Config=TransferConfig(multipart_threshold=5_242_880))
    s3.download_file(bucket, "large", "back")
    with open("back", "rb") as file:
        assert file.read() == content
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"a b/+{number}", Body=b"1", Metadata={"n": str(number)})
    assert s3.head_object(Bucket=bucket, Key="a b/+1")["Metadata"] == {"n": "1"}
    pages = s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
    assert [each["Key"] for page in pages for each in page["Contents"]] == ["a b/+0", "a b/+1", "a b/+2", "large"]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/a b/+1")
    with urlopen(s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "copy"}), timeout=30) as answer:
        assert answer.read() == b"1"
    doomed = [{"Key": each["Key"]} for each in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed})["Deleted"]) == 5
print("ok")
