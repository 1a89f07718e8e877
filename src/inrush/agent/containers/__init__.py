"""Containers on this node: how they start, are spoken with, time out and end. Each end is reported once."""
