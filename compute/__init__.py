"""Machines: the compute API, its scheduler, and the agents of the hosts that run them."""
