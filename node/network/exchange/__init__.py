"""Drivers of the exchange: they move bytes between a stream and the machines of `samara.protocol.exchange`."""
