"""Benchmarks: of any Swift endpoint, of the HTTP server alone, and of memory with large objects."""
