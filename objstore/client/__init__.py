"""A client of the store over HTTP, for our own programs: the operators' tools, benchmarks, images and machines."""
