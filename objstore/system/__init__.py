"""Where the real world is touched: time, disk, locks, threads and greenlets."""
