"""The subcommands of objstore-ring-builder."""
