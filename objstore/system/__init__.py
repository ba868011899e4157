"""The real world: time, flushing, locks, threads, processes and greenlets. tests/tidy names who else touches it."""
