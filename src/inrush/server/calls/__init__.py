"""Calls as the server keeps them: their inputs and results, in memory and in rows."""
