"""Templates: the zygotes and snapshots that containers are forked from, and when each comes and goes."""
