"""Containers on this node: started, spoken with, timed out, ended, each reported once."""
