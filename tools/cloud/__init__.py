"""A whole cloud on this machine: the store, and the identity, image and compute services beside it."""
