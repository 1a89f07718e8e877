"""Where nodes come from: what the core may order, and the providers that bring it."""
