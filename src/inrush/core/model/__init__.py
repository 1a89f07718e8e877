"""What the scheduler knows and says: state, events, effects, and the small values that decisions are made of. It
imports nothing else of core."""
