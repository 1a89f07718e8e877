"""Scaling: how many containers a function should have, and why."""
