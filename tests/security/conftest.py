"""Fixtures of the walls' tests: launchers, as the launcher's own tests have them."""

from launcher.conftest import make_node, node, state

__all__ = ["make_node", "node", "state"]
