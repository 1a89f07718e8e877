"""The packages that the platform itself installs into images, each with its version and the SHA-256 of its wheels.

`pins.txt` is written from the project's lock (`scripts/write-pins`) and ships with the package. An index, a mirror or a
wheel directory of the node can therefore serve these packages, and cannot change what is installed.
"""

from __future__ import annotations

import functools
from pathlib import Path

from inrush.agent.images.steps import UV

INSTALL = f"""
install_pinned() {{
    unset UV_CONSTRAINT UV_OVERRIDE UV_NO_BINARY UV_NO_BINARY_PACKAGE
    printf '%s\\n' "$PINS" |
        {UV} pip install --quiet --require-hashes --no-deps --only-binary :all: --requirement - "$@"
}}
"""
"""Defines a shell function that installs the lines of the variable `PINS`; uv refuses a wheel with another hash.

The node's own constraints are left out: uv would demand hashes of them too, and they are about packages of users.
"""


@functools.cache
def pinned(*names: str) -> str:
    """The lines of these packages, as `pip install --requirement` reads them."""
    lines = Path(__file__).with_name("pins.txt").read_text().splitlines()
    return "\n".join(line for line in lines if line.partition("==")[0] in names)
