"""The DHT without its sockets: messages, routing table, iterative lookup, and what a node keeps for others."""
