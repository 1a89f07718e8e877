"""Placing: which node takes a container, and why others do not."""
