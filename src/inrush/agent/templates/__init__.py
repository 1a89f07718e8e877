"""Templates: the zygotes and snapshots that containers are forked from, and when each is opened and evicted."""
