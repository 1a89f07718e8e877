"""Scaling policies of other systems, from their published sources and with their default settings, in one world with
ours."""
