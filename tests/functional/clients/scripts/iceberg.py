"""pyiceberg: writers append to one table at once; the catalog is a pointer in the bucket, moved by If-Match.

Arguments: a bucket, writers, commits of each.
"""

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import botocore.session
import pyarrow
from botocore.exceptions import ClientError
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io import load_file_io
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import update_table_metadata
from pyiceberg.types import LongType, NestedField

bucket, writers, commits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
LOCATION, POINTER, NAME = f"s3://{bucket}/table", "table/pointer", ("default", "table")
PROPERTIES = {
    "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    "s3.endpoint": os.environ["AWS_ENDPOINT_URL"],
    "s3.region": os.environ["AWS_REGION"],
}


class PointerCatalog(NoopCatalog):
    """One table, whose current metadata an object names; that object is replaced only as it was read."""

    def __init__(self):
        super().__init__("pointer", **PROPERTIES)
        self.s3 = botocore.session.get_session().create_client("s3")

    def create(self):
        schema = Schema(NestedField(1, "row", LongType(), required=False))
        metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, LOCATION)
        self.replace(0, metadata, {"IfNoneMatch": "*"})

    def replace(self, number, metadata, condition):
        location = f"{LOCATION}/metadata/{number:05}-{os.urandom(8).hex()}.metadata.json"
        MetastoreCatalog._write_metadata(metadata, load_file_io(PROPERTIES, location), location)
        body = json.dumps({"number": number, "location": location})
        try:
            self.s3.put_object(Bucket=bucket, Key=POINTER, Body=body, **condition)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            raise CommitFailedException("another writer was first") from None
        return location

    def current(self):
        got = self.s3.get_object(Bucket=bucket, Key=POINTER)
        pointer, io = json.load(got["Body"]), load_file_io(PROPERTIES, LOCATION)
        metadata = FromInputFile.table_metadata(io.new_input(pointer["location"]))
        return Table(NAME, metadata, pointer["location"], io, self), pointer["number"], got["ETag"]

    def load_table(self, identifier=NAME):
        return self.current()[0]

    def commit_table(self, table, requirements, updates):
        now, number, etag = self.current()
        for requirement in requirements:
            requirement.validate(now.metadata)
        metadata = update_table_metadata(now.metadata, updates, metadata_location=now.metadata_location)
        location = self.replace(number + 1, metadata, {"IfMatch": etag})
        return CommitTableResponse(metadata=metadata, metadata_location=location)


def append(writer):
    """How many commits this writer has made; one that comes second is made again on what is current."""
    catalog = PointerCatalog()
    for number in range(commits):
        rows = pyarrow.table({"row": [writer * commits + number]})
        while True:
            try:
                catalog.load_table().append(rows)
                break
            except CommitFailedException:
                pass
    return commits


if __name__ == "__main__":
    PointerCatalog().create()
    with ProcessPoolExecutor(writers, get_context("spawn")) as pool:
        made = sum(pool.map(append, range(writers)))
    table = PointerCatalog().load_table()
    rows = sorted(table.scan().to_arrow()["row"].to_pylist())
    assert rows == list(range(made)), f"{made - len(rows)} of {made} commits are lost"
    assert len(table.history()) == made
    print("ok")
