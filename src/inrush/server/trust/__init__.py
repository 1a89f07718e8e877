"""Who asks, and what they may: principals with their rights, tokens, environments, and the audit log."""
