"""One training: its spec and key, its result, and the store of many results."""
