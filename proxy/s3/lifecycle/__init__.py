"""The lifecycle of objects: rules that buckets have, and the daemon that keeps to them."""
