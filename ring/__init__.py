"""The ring: which devices hold a partition; reading, building and rebalancing."""
