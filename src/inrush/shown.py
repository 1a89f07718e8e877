"""Text of others, as it may be shown to a person.

A terminal obeys what it is sent: a line of a log can clear the screen, set the window's title, have an answer typed
into the shell, or put its words in an order in which they say something else. Whoever chooses the text (code in a
container, a caller of an endpoint, the name of a function) must not choose that. So whatever inrush shows passes here,
where all that a terminal would obey but colours is written as Python writes it in a string.
"""

from __future__ import annotations

import re

RESET = "\x1b[0m"
_OBEYED = re.compile(
    r"\x1b\[[0-9;:]{0,40}m"  # colours
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]"  # commands, and other ends of lines than \n
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ud800-\udfff]"  # order, and what is not seen
)


def harmless(text: str) -> str:
    """The text, of which a terminal obeys only ends of lines, tabs and colours. Those end with it."""
    if text.isascii() and text.isprintable():
        return text
    found = _OBEYED.sub(_written, text)
    return found + RESET if "\x1b" in found and not found.endswith(RESET) else found


def visible(line: str) -> str:
    """A line as a terminal shows it at its end: of a progress bar that is redrawn, the last state."""
    return harmless(line.rstrip("\r\n").rpartition("\r")[2])


def visible_lines(text: str) -> list[str]:
    """The lines of what a container printed at once. Each is shown behind the name of who printed it, so that none can
    pass for a line of somebody else."""
    return [visible(line) for line in text.rstrip("\r\n").split("\n")]


def _written(found: re.Match[str]) -> str:
    text = found[0]
    return text if len(text) > 1 else ascii(text)[1:-1]
