"""Images on a node: the layers it holds, how steps become layers, and what it brings along itself."""
