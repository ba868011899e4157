"""HTTP/1.1 between clients, the proxy and the storage servers."""
