"""DuckDB: a table written to the bucket through fsspec, and read again with a filter. Arguments: a bucket."""

import os
import sys

import duckdb
import s3fs

bucket = sys.argv[1]
connection = duckdb.connect()
connection.register_filesystem(s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"]))
rows = "select range as n, range % 3 as part from range(30000)"
connection.execute(f"copy ({rows}) to 's3://{bucket}/duck' (format parquet, partition_by (part), overwrite_or_ignore)")
read = f"read_parquet('s3://{bucket}/duck/*/*.parquet', hive_partitioning = true)"
assert connection.execute(f"select count(*), sum(n) from {read} where part = 1").fetchone() == (10000, 149995000)
print("ok")
