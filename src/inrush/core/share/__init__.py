"""Sharing: quotas, fair shares, priorities, devices kept for whoever needs several, and who must make room."""
