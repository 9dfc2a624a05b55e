"""Samara: a peer-to-peer network for AI models and dataset shards."""

__version__ = "0.1.0"
