"""Contents on disk: plain files in place, an index beside them (specs/store.md)."""
