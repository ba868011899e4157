"""The object server, its storage engines and daemons."""
