"""The exchange protocol `/samara/exchange/1`, without IO (specs/exchange.md)."""
