"""The compute API as Nova's clients speak it (v2.1)."""
