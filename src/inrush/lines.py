"""Lines of output as a terminal shows them: a progress bar that is drawn again and again is one line.

Only the standard library is used: the guest imports this. While a bar is drawn, its state travels as a *drawing*, which
begins with a carriage return and has no end of line. Who shows output live may show drawings; nobody keeps them.
"""

from __future__ import annotations


def settled(text: str) -> str:
    """The text with each of its lines as it looks at its end."""
    return "\n".join(map(_last_state, text.split("\n"))) if "\r" in text else text


def drawing(part: str) -> str:
    """The state of an unfinished line that returned to its beginning; empty for one that did not."""
    return "\r" + _last_state(part) if "\r" in part else ""


def is_drawing(text: str) -> bool:
    """Whether a piece of output is the state of a line that will be drawn again."""
    return text[:1] == "\r" and text[-1:] != "\n"


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
