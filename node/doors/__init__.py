"""How callers reach a running node: the local socket; later HTTP and Python."""
