"""IO on one machine: the store, the network, the doors, the inference engine, and the node that supervises them."""
