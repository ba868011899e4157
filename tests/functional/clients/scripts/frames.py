"""s3fs and pyarrow: files, a partitioned data set there and back, and what fsspec does with folders.

Arguments: a bucket.
"""

import os
import sys

import pyarrow
import pyarrow.dataset
import pyarrow.fs
import pyarrow.parquet
import s3fs

bucket = sys.argv[1]
files = s3fs.S3FileSystem(endpoint_url=os.environ["AWS_ENDPOINT_URL"])
content = os.urandom(12_000_000)
with files.open(f"{bucket}/folder/large", "wb", block_size=5_242_880) as out:
    out.write(content)
with files.open(f"{bucket}/folder/large", "rb") as source:
    source.seek(5_242_879)
    assert source.read(2) == content[5_242_879:5_242_881]
files.pipe(f"{bucket}/folder/a b+%", b"1")
assert sorted(files.ls(f"{bucket}/folder")) == [f"{bucket}/folder/a b+%", f"{bucket}/folder/large"]
files.copy(f"{bucket}/folder", f"{bucket}/copy", recursive=True)
assert files.cat(f"{bucket}/copy/a b+%") == b"1" and files.cat(f"{bucket}/copy/large") == content
files.rm(f"{bucket}/folder", recursive=True)
assert not files.exists(f"{bucket}/folder") and files.isdir(f"{bucket}/copy")

endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
arrow = pyarrow.fs.S3FileSystem(endpoint_override=endpoint, scheme="http")
table = pyarrow.table({"year": [2024 + n % 3 for n in range(30_000)], "value": list(range(30_000))})
arrow.create_dir(f"{bucket}/set")
for filesystem, folder in ((arrow, "set"), (files, "set2")):
    base = f"{bucket}/{folder}"
    pyarrow.dataset.write_dataset(table, base, format="parquet", filesystem=filesystem, partitioning=["year"])
    dataset = pyarrow.dataset.dataset(base, format="parquet", filesystem=filesystem, partitioning=["year"])
    found = dataset.to_table(filter=pyarrow.dataset.field("year") == 2025)
    assert found.num_rows == 10_000
    assert sorted(dataset.to_table()["value"].to_pylist()) == list(range(30_000))
with arrow.open_output_stream(f"{bucket}/set/raw") as out:
    out.write(content)
assert arrow.open_input_file(f"{bucket}/set/raw").read() == content
found = arrow.get_file_info(pyarrow.fs.FileSelector(f"{bucket}/set", recursive=False))
assert sorted(each.base_name for each in found) == ["2024", "2025", "2026", "raw"]
arrow.delete_dir_contents(f"{bucket}/set")
print("ok")
