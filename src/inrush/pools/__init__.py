"""Where nodes come from: what the core may order, and who brings it."""
