"""Pools: which nodes to order, from where, and when to give them back."""
