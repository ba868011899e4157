"""Configuration: one frozen type per service, parsed once at start."""
