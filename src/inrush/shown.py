"""Makes untrusted text safe to show in a terminal.

A terminal interprets control characters in its input: a line of a log could clear the screen, set the window's title,
make the terminal type an answer into the shell, or reorder words so that they say something else. Code in a container,
callers of endpoints and authors of function names choose such text, and must not get those powers. So everything that
inrush shows passes through this module, which escapes all control characters except colours as a Python string literal
would.
"""

from __future__ import annotations

import re

from inrush.lines import last_state

RESET = "\x1b[0m"
_OBEYED = re.compile(
    r"\x1b\[[0-9;:]{0,40}m"  # colours, which are kept
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]"  # control characters, and ends of lines other than \n
    r"|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ud800-\udfff]"  # marks that change the
    # direction of text, and invisible characters
)


def harmless(text: str) -> str:
    """The text with every control character escaped, except ends of lines, tabs and colours. Colours are reset at its
    end."""
    if text.isascii() and text.isprintable():
        return text
    found = _OBEYED.sub(_written, text)
    return found + RESET if "\x1b" in found and not found.endswith(RESET) else found


def visible(line: str) -> str:
    """A line as a terminal shows it once it is complete: of a progress bar that is redrawn, the last state."""
    return harmless(last_state(line.rstrip("\r\n")))


def visible_lines(text: str) -> list[str]:
    """The lines of a piece of output of a container. The caller shows the container's name before each, so that no line
    can pass for another container's."""
    return [visible(line) for line in text.rstrip("\r\n").split("\n")]


def _written(found: re.Match[str]) -> str:
    text = found[0]
    return text if len(text) > 1 else ascii(text)[1:-1]
