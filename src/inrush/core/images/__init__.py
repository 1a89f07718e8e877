"""Images as the scheduler sees them: which layers are on which node."""
