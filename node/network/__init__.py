"""The network: peers, streams and discovery behind one interface (specs/network.md)."""
