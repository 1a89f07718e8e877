"""Policies of the field, from their published sources and with their default settings, in one world with ours."""
