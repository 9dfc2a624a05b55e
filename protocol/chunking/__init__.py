"""Where files are cut into chunks: by their own structure, or by their content (specs/content.md §4, §5)."""
