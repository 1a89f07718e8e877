"""Checking and saving the state: its invariants, and checkpoints of it."""
