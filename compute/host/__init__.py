"""The agent of a host: it pulls tasks, and makes machines that boot from the image service."""
