"""`objstore ring`: rings for people."""
