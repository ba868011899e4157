"""Objects stored as fragments of an erasure code: which write counts, and bodies made of fragments."""
