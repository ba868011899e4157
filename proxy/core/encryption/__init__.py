"""Encryption at rest: one mechanism for both APIs, see docs/decisions/0019-encryption.md."""
