"""Bounded, strict readers of model headers: nothing is loaded, or told, before the header was read by one of these."""
