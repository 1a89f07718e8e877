"""Named things that hold data: Dicts and Secrets."""
