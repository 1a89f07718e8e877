"""Placing: which node takes a container, and why the others do not."""
