"""What the scheduler knows and says.

State, events, effects, specs, and the small values that decisions are made of. It imports nothing else of core.
"""
