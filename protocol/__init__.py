"""The pure protocol: bytes to facts and back. No sockets, files, clocks or randomness."""
