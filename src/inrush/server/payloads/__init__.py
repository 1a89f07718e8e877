"""Payloads that are too large for a message: stored on disk or in memory, and passed by descriptor."""
