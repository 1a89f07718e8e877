"""The versions that client and server compare when they meet: of this package, and of Python."""

import sys

__version__ = "0.1.0"

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The minor version of this Python, such as "3.13": the part of the version on which code objects depend."""


def minor(version: str) -> str:
    """The part of a version that client and server must share."""
    return ".".join(version.split(".")[:2])


def remedy(server: str, client: str) -> str:
    """What is to be installed where, if client and server have different minor versions."""
    return (
        f"the server runs inrush {server}, and this program inrush {client}; they must have the same minor version. "
        f"Install the server's here (pip install 'inrush=={minor(server)}.*'), or have inrush {client} installed where "
        "the server runs"
    )
