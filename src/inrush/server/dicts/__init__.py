"""Dicts, durable maps of the apps of an environment, and how their items are shown."""
