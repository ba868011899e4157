"""Which host a server gets."""
