"""DuckDB with its own httpfs: tables written to the bucket, found by a pattern, read again. Arguments: a bucket."""

import os
import sys
from urllib.parse import urlsplit

import duckdb
import duckdb_ext

bucket, folder = sys.argv[1], duckdb_ext.__path__[0]
(extension,) = (
    os.path.join(where, name) for where, _, names in os.walk(folder) for name in names if name.startswith("httpfs.")
)
connection = duckdb.connect()
connection.execute(f"load '{extension}'")
key, secret = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
endpoint = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
credentials = f"key_id '{key}', secret '{secret}', endpoint '{endpoint}'"
connection.execute(f"create secret (type s3, {credentials}, url_style 'path', use_ssl false)")
rows = "select range as n, range % 3 as part from range(30000)"
connection.execute(f"copy ({rows}) to 's3://{bucket}/duck' (format parquet, partition_by (part), overwrite_or_ignore)")
read = f"read_parquet('s3://{bucket}/duck/*/*.parquet', hive_partitioning = true)"
assert connection.execute(f"select count(*), sum(n) from {read} where part = 1").fetchone() == (10000, 149995000)
# In parts: more than one buffer of httpfs.
connection.execute(f"copy (select random() as r from range(3000000)) to 's3://{bucket}/large.parquet' (format parquet)")
assert connection.execute(f"select count(r) from 's3://{bucket}/large.parquet'").fetchone() == (3000000,)
print("ok")
