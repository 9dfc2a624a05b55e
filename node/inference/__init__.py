"""Runs a model that has arrived: header check, fit, CPU check, and the engine in a process of its own."""
