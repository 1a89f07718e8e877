"""Rows: the tables, and the group commit that writes them."""
