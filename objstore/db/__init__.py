"""Databases of accounts and containers: one mechanism, described once for each kind (`schema`)."""
