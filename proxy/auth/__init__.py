"""Identities, what they may do, and how they prove who they are. Knows neither the core nor an API."""
