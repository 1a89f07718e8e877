"""Apps: their versions, functions and endpoints."""
