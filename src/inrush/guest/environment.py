"""The environment of a forked process. Variables that it has already are not written, since each page that is written
after a fork is copied."""

from __future__ import annotations

import os


def add(env: dict[str, str]) -> None:
    """Sets these variables, and leaves all others."""
    for name, value in env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def replace(env: dict[str, str]) -> None:
    """Sets the environment to exactly `env`."""
    for name in os.environ.keys() - env.keys():
        del os.environ[name]
    add(env)
