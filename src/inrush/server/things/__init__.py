"""Things that hold data under a name: dicts and secrets."""
