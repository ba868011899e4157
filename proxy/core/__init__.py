"""Typed operations on the store, shared by all APIs: commands, results, domain errors. Knows no API."""
