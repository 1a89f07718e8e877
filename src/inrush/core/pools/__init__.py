"""Pools: which nodes to order, from whom, and when to give them back."""
