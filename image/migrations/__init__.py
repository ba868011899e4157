"""The image service's tables, version after version."""
