"""Typed operations on the store: what every API's edge stands on. Nothing in here knows an API."""
