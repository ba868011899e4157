"""delta-rs: processes append to one table at once, and no commit is lost.

Arguments: a bucket, writers, commits of each.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pyarrow
from deltalake import CommitProperties, DeltaTable, write_deltalake

bucket, writers, commits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
TABLE = f"s3://{bucket}/table"
OPTIONS = {"aws_conditional_put": "etag", "aws_endpoint": os.environ["AWS_ENDPOINT_URL"], "aws_allow_http": "true"}


def append(writer: int) -> int:
    """How many commits this writer has made."""
    patience = CommitProperties(max_commit_retries=1000)
    for number in range(commits):
        rows = pyarrow.table({"row": [writer * commits + number]})
        write_deltalake(TABLE, rows, mode="append", storage_options=OPTIONS, commit_properties=patience)
    return commits


if __name__ == "__main__":
    write_deltalake(TABLE, pyarrow.table({"row": [-1]}), storage_options=OPTIONS)
    with ProcessPoolExecutor(writers, get_context("spawn")) as pool:
        made = sum(pool.map(append, range(writers)))
    table = DeltaTable(TABLE, storage_options=OPTIONS)
    rows = sorted(table.to_pyarrow_table()["row"].to_pylist())
    assert rows == list(range(-1, made)), f"{made + 1 - len(rows)} of {made} commits are lost"
    assert table.version() == made
    print("ok", flush=True)
    os._exit(0)  # threads of the library end the process otherwise, now and then
