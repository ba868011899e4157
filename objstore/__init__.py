"""A distributed object store: the foundation every tier stands on."""

__version__ = "0.1.0"
