"""Trust: principals with their rights, tokens, environments, and the audit log."""
