"""Programs of commands whose functions run in containers."""
