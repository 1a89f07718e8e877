"""Secrets, and the key of the home that encrypts them."""
