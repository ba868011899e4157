"""Who asks, and what they may do: tokens, access control lists, rights over accounts."""
