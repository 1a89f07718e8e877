"""The function whose container `inrush shell` without a function opens its shell in."""

import os


def where() -> str:
    """Says in which container it runs."""
    return os.environ["INRUSH_CONTAINER_ID"]
