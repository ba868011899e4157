"""What the kernel counts for a thread."""

import resource


def blocks_read() -> int:
    """How many blocks the calling thread has had read from disks: unchanged means all came from memory."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock
