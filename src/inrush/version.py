"""The versions that client and server compare when they meet: of this package, and of Python."""

import sys

__version__ = "0.1.0"

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The minor version of this Python, such as "3.13": the part of the version on which code objects depend."""
