"""Fetching: the queue, where peers come from, and one fetch from goal to files."""
