"""One file per object: the engine registered as "file"."""

from objstore.object.engine import register_engine
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.engine import FileEngine
from objstore.runtime import Runtime


def _make(runtime: Runtime, keep_cache_size: int) -> FileEngine:
    unlinked = runtime.metrics.counter("objects_not_linked_ahead", "New files without a name in their next partition")
    disk = Disk(runtime.flusher, runtime.threads)
    return FileEngine(disk, runtime.log, keep_cache_size, runtime.random, unlinked.add)


register_engine("file", _make)
