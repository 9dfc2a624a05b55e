"""One module a group of commands, imported only when one of them is called."""
