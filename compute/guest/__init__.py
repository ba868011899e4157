"""A small guest for trying machines and testing them: Debian's kernel, busybox, and a few scripts."""
