"""One file per object: the engine registered as "file"."""

from objstore.object.engine import OpenDevice, register_engine
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.engine import FileDevice
from objstore.object.metadata import ATTRIBUTE
from objstore.runtime import Runtime


def _make(runtime: Runtime, keep_cache_size: int) -> OpenDevice:
    unlinked = runtime.metrics.counter(
        "object_missing_next_partition_links", "New files without a name in their next partition"
    )

    def open_device(path: str) -> FileDevice:
        calls = runtime.device_calls(path, runtime.flusher, ATTRIBUTE)
        disk = Disk(path, calls, runtime.flusher, runtime.threads.of(path))
        return FileDevice(disk, runtime.log, keep_cache_size, runtime.random, runtime.clock, unlinked.add)

    return open_device


register_engine("file", _make)
