"""Charts of rings, drawn by matplotlib."""
