"""Writing to the storage servers: quorums, handoffs, uploads."""
