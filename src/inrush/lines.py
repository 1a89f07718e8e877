"""Lines of output as a terminal shows them: a progress bar that is redrawn many times is one line.

Only the standard library is used: the guest imports this. While a bar is being drawn, its current state is sent as a
*drawing*, which begins with a carriage return and has no end of line. Programs that show output live may show drawings;
logs do not store them.
"""

from __future__ import annotations


def settled(text: str) -> str:
    """The text with each line in its last state, that is, after its last carriage return."""
    return "\n".join(map(last_state, text.split("\n"))) if "\r" in text else text


def drawing(part: str) -> str:
    """The drawing of an unfinished line that contains a carriage return; empty for any other line."""
    return "\r" + last_state(part) if "\r" in part else ""


def is_drawing(text: str) -> bool:
    """Whether a piece of output is the state of a line that will be drawn again."""
    return text[:1] == "\r" and text[-1:] != "\n"


def last_state(line: str) -> str:
    """A line as it is after its last carriage return."""
    return line.rstrip("\r").rpartition("\r")[2]
