"""The function whose containers `inrush shell` opens shells in: none of its own code is called there."""


def stand_by() -> None:
    """Does nothing; its container is what is wanted."""
