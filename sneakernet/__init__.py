"""Removable media: contents on a stick, in plain files, verified on both ends (specs/stick.md)."""
