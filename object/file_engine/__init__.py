"""One file per object: the engine registered as "file"."""

from objstore.object.engine import register_engine
from objstore.object.file_engine.disk import Disk
from objstore.object.file_engine.engine import FileEngine
from objstore.runtime import Runtime


def _make(runtime: Runtime, keep_cache_size: int) -> FileEngine:
    return FileEngine(Disk(runtime.flusher, runtime.threads), runtime.log, keep_cache_size, runtime.random)


register_engine("file", _make)
