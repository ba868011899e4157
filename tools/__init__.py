"""Operator commands, one a file."""
