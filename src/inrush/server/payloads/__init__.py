"""Payloads that are too large for a message: on disk, in memory, and passed by descriptor."""
