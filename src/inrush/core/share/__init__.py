"""Sharing: fair shares, priorities, devices kept for functions that need several, and who must make room."""
