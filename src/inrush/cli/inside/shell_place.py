"""The function whose image and resources `inrush shell` without a function has."""


def where() -> None:
    """Is never called: a shell runs none of its function's code."""
