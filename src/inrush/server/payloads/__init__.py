"""Payloads too large for a message: on disk, in memory, and handed over by descriptor."""
