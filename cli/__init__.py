"""The command line: turns arguments into operations, and events and results into text."""
