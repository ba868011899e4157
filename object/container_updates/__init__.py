"""Container updates: every write of an object is reported to the servers of its container."""
