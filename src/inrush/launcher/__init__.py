"""The launcher: the one privileged process, and the helpers that it starts.

It imports `linux`, `errors` and the standard library alone, so that it can be read and judged as one thing.
"""
