"""The errors of inrush, under the name that programs written for Modal import: `from inrush.exception import …`."""

from inrush.errors import *  # noqa: F403
