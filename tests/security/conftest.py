"""Fixtures of the security tests: launchers, as in the launcher's own tests."""

from launcher.conftest import make_node, node, state

__all__ = ["make_node", "node", "state"]
