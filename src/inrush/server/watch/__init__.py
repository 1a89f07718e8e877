"""Watching: logs of containers, and what clients follow."""
