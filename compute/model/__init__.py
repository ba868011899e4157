"""What the compute services remember, in SQL."""
