"""Reading from the storage servers: first good answer, newest answer, resumption, several ranges."""
